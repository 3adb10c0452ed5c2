"""Linear operators against their formulas and against deepinv; mistakes that are named."""

from __future__ import annotations

import math
import re
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.errors import FieldError
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.anisotropic import AnisotropicGaussianBlur, anisotropic_kernel
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.operators.linear.blur import GaussianBlur
from treg_exp.operators.linear.colour import BayerMosaic, Greyscale
from treg_exp.operators.linear.composition import Composition
from treg_exp.operators.linear.compressed import CompressedSensing
from treg_exp.operators.linear.kernel_blur import KernelBlur
from treg_exp.operators.linear.masking import BoxInpainting, Outpainting, RandomInpainting
from treg_exp.operators.linear.motion import MotionBlur, motion_kernel
from treg_exp.operators.linear.mri import FourierLines
from treg_exp.operators.linear.radon import SparseViewCT
from treg_exp.operators.linear.random_masks import RandomBoxInpainting, StrokeInpainting

SHAPE = (3, 32, 48)


def image(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def near(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def skew(taps: int) -> Tensor:
    """A kernel without any symmetry."""
    kernel = torch.rand(1, 1, taps, taps, generator=torch.Generator().manual_seed(5))
    return kernel / kernel.sum()


@pytest.mark.parametrize("boundary", ["zero", "reflect", "circular"])
def test_kernel_blur_is_a_convolution(boundary: str) -> None:
    mode = {"zero": "constant"}.get(boundary, boundary)
    x, kernel = image(), skew(7)
    expected = F.conv2d(F.pad(x, (3, 3, 3, 3), mode=mode), kernel.flip(-1, -2).expand(3, 1, 7, 7), groups=3)
    near(KernelBlur(kernel, SHAPE, boundary).A(x), expected)


@pytest.mark.parametrize("boundary", ["zero", "reflect", "symmetric", "circular"])
def test_kernel_blur_equals_the_separable_one(boundary: str) -> None:
    separable, x = GaussianBlur(2.0, 13, SHAPE, boundary), image()
    general = KernelBlur(anisotropic_kernel(2.0, 2.0, 0.0, 13)[None, None], SHAPE, boundary)
    y = separable.A(x)
    near(general.A(x), y)
    near(general.adjoint(y), separable.adjoint(y))
    near(general.prox(y, x, 0.1), separable.prox(y, x, 0.1), 1e-4)
    assert general.norm_sq == pytest.approx(separable.norm_sq, rel=0.15)  # nominal unless circular


def test_a_gaussian_that_is_turned_by_ninety_degrees_is_transposed() -> None:
    near(anisotropic_kernel(4.0, 1.0, 90.0, 15), anisotropic_kernel(4.0, 1.0, 0.0, 15).mT)
    rising = anisotropic_kernel(4.0, 1.0, 45.0, 15)
    assert float(rising[2, 12]) > 100 * float(rising[2, 2])  # counter-clockwise: up is to the right


@pytest.mark.parametrize("intensity", [0.0, 0.5, 1.0])
def test_motion_kernels(intensity: float) -> None:
    kernels = [motion_kernel(31, intensity, torch.Generator().manual_seed(seed)) for seed in range(20)]
    for kernel in kernels:
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-5)
        assert float(kernel.min()) >= 0
        rows, columns = (kernel.sum(axis).nonzero() for axis in (1, 0))
        assert max(int(v.max() - v.min()) for v in (rows, columns)) in (29, 30)
    spread = torch.stack([(k > 0).float().mean() for k in kernels])
    assert float(spread.max()) < 0.4


def test_every_sample_has_its_own_path() -> None:
    both = MotionBlur(9, 0.5, SHAPE, ["a", "b"], seed=1)
    assert both.fingerprint(0) != both.fingerprint(1)
    assert torch.equal(MotionBlur(9, 0.5, SHAPE, ["b"], seed=1).kernel, both[1].kernel)
    assert not torch.equal(MotionBlur(9, 0.5, SHAPE, ["b"], seed=2).kernel, both[1].kernel)


def test_averages_colours_and_mosaics() -> None:
    x = image()
    near(AveragePooling(4, SHAPE).A(x)[0, 1, 2, 3], x[0, 1, 8:12, 12:16].mean())
    near(Greyscale("mean", SHAPE).A(x), x.mean(1, keepdim=True))
    near(Greyscale("luma", SHAPE).A(torch.full_like(x, 0.3)), torch.full((2, 1, 32, 48), 0.3))
    mosaic = BayerMosaic((3, 5, 5)).A(x[..., :5, :5])[0, 0]
    assert [mosaic[i, j] for i, j in ((0, 0), (0, 1), (1, 0), (1, 1), (4, 4))] == [
        x[0, c, i, j] for c, i, j in ((0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1), (0, 4, 4))
    ]


def test_a_compressed_measurement_keeps_its_share_of_the_energy() -> None:
    operator, x = CompressedSensing(0.25, SHAPE, ["a", "b"]), image()
    y = operator.A(x)
    assert y.shape == (2, 3, 32 * 48 // 4)
    assert float(y.square().sum() / x.square().sum()) == pytest.approx(0.25, abs=0.05)
    near(operator.A(operator.adjoint(y)), y)


def test_lines_of_the_fourier_transform() -> None:
    operator, x = FourierLines(4.0, 0.08, SHAPE, ["a", "b"]), image()
    lines = operator.mask[0, 0, 0]
    assert int(lines.sum()) == 12
    assert bool(lines[[0, 1, 46, 47]].all())  # 4 of 48 about the zero frequency
    y, spectrum = operator.A(x), torch.fft.fft2(x, norm="ortho")
    near(torch.complex(y[:, 0], y[:, 1]), spectrum * operator.mask)
    mirror = torch.fft.fft2(operator.pinv(y), norm="ortho")
    near(mirror[..., lines.bool()][0], spectrum[..., lines.bool()][0])


def test_projections_of_a_single_pixel_and_of_the_mean() -> None:
    operator, x = SparseViewCT(4, (3, 16, 16)), torch.zeros(1, 3, 16, 16)
    x[..., 3, 5] = 16.0  # 2.5 to the left of the centre and 4.5 above it
    y = operator.A(x)
    near(y.sum(-1), torch.ones(1, 3, 4))
    middle, bins = (operator.measurement_shape[-1] - 1) / 2, torch.arange(operator.measurement_shape[-1])
    for view, place in enumerate((-2.5, (4.5 - 2.5) / math.sqrt(2), 4.5, (2.5 + 4.5) / math.sqrt(2))):
        assert float((y[0, 0, view] * bins).sum() - middle) == pytest.approx(place, abs=1e-4)


def test_composition() -> None:
    x = image()
    blur, pool = GaussianBlur(1.0, 7, SHAPE), AveragePooling(2, SHAPE)
    both = Composition(
        lambda signal_shape: blur, lambda signal_shape: AveragePooling(2, signal_shape), SHAPE, ["a", "b"]
    )
    near(both.A(x), pool.A(blur.A(x)))
    other = Composition(lambda signal_shape: blur, lambda signal_shape: AveragePooling(4, signal_shape), SHAPE, ["a"])
    assert both.fingerprint() != other.fingerprint()


def test_parts_of_a_composition_draw_their_own_numbers() -> None:
    def half(signal_shape: tuple[int, ...], sample_ids: tuple[str, ...], seed: int) -> Operator:
        return RandomInpainting(0.5, signal_shape, sample_ids, seed)

    both = Composition(half, half, SHAPE, ["a", "b"])
    assert both.samples == 2
    assert torch.equal(both.measured(), both.first.measured() * both.second.measured())
    assert 0.2 < float(both.measured().mean()) < 0.3
    assert torch.equal(both[1].measured()[0], both.measured()[1])


def test_streams_depend_on_the_order_of_the_parts_not_on_how_they_are_nested() -> None:
    mask = partial(RandomInpainting, 0.5)
    pair = partial(Composition, mask, mask)
    left, right = Composition(pair, mask, SHAPE, ["a"]), Composition(mask, pair, SHAPE, ["a"])
    names = ("a", "second/a", "second/second/a")
    first, middle, last = (RandomInpainting(0.5, SHAPE, [name]).fingerprint() for name in names)
    assert isinstance(left.first, Composition)
    assert isinstance(right.second, Composition)
    assert [p.fingerprint() for p in (left.first.first, left.first.second, left.second)] == [first, middle, last]
    assert [p.fingerprint() for p in (right.first, right.second.first, right.second.second)] == [first, middle, last]
    assert len({first, middle, last}) == 3


def test_masks() -> None:
    kept = Outpainting((0.5, 1.0), SHAPE).mask[0, 0]
    assert bool(kept[8:24].all())
    assert int(kept.sum()) == 16 * 48
    strokes = StrokeInpainting(4, 6, 0.4, (0.05, 0.15), 120.0, SHAPE, [str(i) for i in range(20)])
    holes = 1 - strokes.mask.flatten(1).mean(1)
    assert float(holes.min()) > 0.02
    assert float(holes.max()) < 0.7
    assert len(holes.unique()) > 10
    boxes = RandomBoxInpainting((0.25, 0.25), 0.1, SHAPE, ["a", "b"])
    assert (1 - boxes.mask).flatten(1).sum(1).tolist() == [8 * 12, 8 * 12]


def test_the_part_of_a_composition_that_is_wrong_is_named() -> None:
    pair = partial(Composition, partial(AveragePooling, 2), partial(AveragePooling, 5))
    for first, second, message in (
        (partial(GaussianBlur, 0.0, 5), partial(AveragePooling, 2), "first.sigma=0.0: width of the blur"),
        (partial(GaussianBlur, 1.0, 5), partial(AveragePooling, 5), "second.factor=5: must divide both sides"),
        (partial(GaussianBlur, 1.0, 5), pair, "second.second.factor=5: must divide both sides"),
        (partial(GaussianBlur, 1.0, 5), AveragePooling(2, SHAPE), "second=AveragePooling: must be callable"),
    ):
        with pytest.raises(FieldError, match=f"^{re.escape(message)}"):
            Composition(first, second, SHAPE, ["a"])


@pytest.mark.parametrize(
    ("name", "settings", "ours"),
    [
        ("Blur", {"filter": skew(7), "padding": "reflect"}, KernelBlur(skew(7), SHAPE, "reflect")),
        ("BlurFFT", {"filter": skew(7), "img_size": SHAPE}, KernelBlur(skew(7), SHAPE)),
        ("Decolorize", {}, Greyscale("luma", SHAPE)),
        (
            "Downsampling",
            {"filter": torch.full((1, 1, 4, 4), 1 / 16), "factor": 4, "padding": "valid", "img_size": SHAPE},
            AveragePooling(4, SHAPE),
        ),
    ],
)
def test_equals_deepinv(name: str, settings: dict[str, object], ours: Operator) -> None:
    import deepinv.physics

    physics, x = getattr(deepinv.physics, name)(**settings), image()
    y = ours.A(x)
    near(y, physics.A(x), 1e-3 if name == "Decolorize" else 1e-5)  # it has 0.2989 where BT.601 says 0.299
    near(ours.adjoint(y), physics.A_adjoint(y), 1e-3 if name == "Decolorize" else 1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AveragePooling(5, SHAPE), "factor=5: must divide both sides of the image, which is 32x48"),
        (lambda: KernelBlur(skew(33), SHAPE), "kernel_size=33: is larger than the 32x48 image"),
        (lambda: KernelBlur(skew(4), SHAPE), "kernel_size=4: must be an odd integer"),
        (lambda: KernelBlur(skew(5), SHAPE, "wrap"), "boundary=wrap: must be one of zero, reflect"),
        (lambda: KernelBlur(0 * skew(5), SHAPE), r"kernel=\(1, 1, 5, 5\): is zero, nothing would be measured"),
        (lambda: KernelBlur(torch.cat([skew(5), 2 * skew(5)]), SHAPE), r"kernel=\[1.0, 2.0\]: sum of \|k\| differs"),
        (lambda: MotionBlur(5, 2.0, SHAPE, ["a"]), r"intensity=2.0: must be in \[0, 1\]"),
        (lambda: AnisotropicGaussianBlur((1.0, 0.0), 0, 5, SHAPE), r"sigma=\(1.0, 0.0\): must be two widths"),
        (lambda: AnisotropicGaussianBlur((1.0, math.nan), 0, 5, SHAPE), r"sigma=\(1.0, nan\): must be two widths"),
        (lambda: AnisotropicGaussianBlur((1.0, 1.0), math.nan, 5, SHAPE), "angle=nan: must be a finite number"),
        (lambda: KernelBlur(skew(5) * math.nan, SHAPE), r"kernel=\(1, 1, 5, 5\): has entries that are not finite"),
        (lambda: Greyscale("red", SHAPE), "weights=red: must be one of mean, luma"),
        (lambda: CompressedSensing(0, SHAPE, ["a"]), r"fraction=0: must be in \(0, 1\]"),
        (lambda: FourierLines(0.5, 0.08, SHAPE, ["a"]), "acceleration=0.5: must be >= 1"),
        (lambda: FourierLines(8, 0.5, SHAPE, ["a"]), "centre=0.5: has 24 lines, but acceleration=8 allows 6"),
        (lambda: SparseViewCT(0, SHAPE), "angles=0: must be an integer >= 1"),
        (lambda: Outpainting((0.5, 0.001), SHAPE), "no pixel of a 32x48 image, nothing would be measured"),
        (
            lambda: StrokeInpainting(9, 9, 1.0, (3.0, 3.0), 90.0, SHAPE, ["a"]),
            r"mask=\(1, 1, 32, 48\): measures nothing",
        ),
        (lambda: StrokeInpainting(1, 1, 0.1, (0.1, 0.1), math.nan, SHAPE, ["a"]), "max_turn=nan: must be a finite"),
        (lambda: RandomBoxInpainting((0.5, 0.5), math.nan, SHAPE, ["a"]), "margin=nan: must be >= 0"),
        (lambda: RandomBoxInpainting((0.9, 0.9), 0.1, SHAPE, ["a"]), "margin=0.1: must be >= 0 and leave room"),
        (lambda: BoxInpainting((0, 0, 1, 1), SHAPE), "nothing would be measured"),
        (
            lambda: Composition(
                lambda signal_shape: Greyscale("mean", signal_shape),
                lambda signal_shape: AveragePooling(2, signal_shape),
                SHAPE,
                ["a"],
            ),
            r"^second=\(1, 32, 48\): cannot follow first, whose measurements have that shape: must be \(3, H, W\)",
        ),
    ],
)
def test_mistakes_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_bayer_mosaic_is_that_of_deepinv_with_red_and_blue_swapped() -> None:
    from deepinv.physics import Demosaicing

    ours, x = BayerMosaic(SHAPE), image()
    near(ours.adjoint(ours.A(x.flip(1))).flip(1), Demosaicing(img_size=SHAPE).A(x))
