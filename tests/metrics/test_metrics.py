"""Metrics against figures worked out by hand, against other implementations, and across batch sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.metrics.alignment import TextAlignment
from treg_exp.metrics.base import MetricInput, check_metrics, columns_of, evaluate
from treg_exp.metrics.fidelity import PSNR, SSIM, psnr, ssim
from treg_exp.metrics.perceptual import LPIPS
from treg_exp.metrics.residual import Residual, residual
from treg_exp.operators.linear.masking import BoxInpainting
from treg_exp.operators.noise.gaussian import GaussianNoise
from treg_exp.solvers.base import BEFORE_PROJECTION
from treg_exp.tasks.inverse import InverseTask
from treg_exp.tasks.problems import EditProblem, InverseProblem


class Halve:
    """A x = x / 2, enough of an operator for a metric."""

    def A(self, x: Tensor) -> Tensor:
        return x / 2

    def measured(self) -> Tensor:
        return torch.ones(1, 1, 1, 1)


class Clip:
    """Features: mean colour of an image; a text is the colour it names."""

    colours: Mapping[str, tuple[float, ...]] = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0)}

    def image_features(self, x: Tensor) -> Tensor:
        return torch.nn.functional.normalize((x.mean((2, 3)) + 1) / 2, dim=1)

    def text_features(self, prompts: Sequence[str]) -> Tensor:
        return torch.tensor([self.colours[prompt] for prompt in prompts])


def batch(size: int = 4, **changes: Any) -> MetricInput:
    g = torch.Generator().manual_seed(0)
    target = torch.rand(size, 3, 24, 20, generator=g) * 2 - 1
    image = (target + 0.3 * torch.randn(target.shape, generator=g)).clamp(-1, 1)
    y = target / 2 + 0.1 * torch.randn(target.shape, generator=g)
    measurement = InverseProblem(y=y, operator=Halve(), sigma=0.1, lam=1.0)  # type: ignore[arg-type]
    captions = [{"caption": "red", "counterfactual": "green"} if i % 2 else {"caption": "red"} for i in range(size)]
    fields = {
        "signal": image,
        "target": target,
        "problem": measurement,
        "prior": SimpleNamespace(image_text=Clip()),
        "texts": captions,
    }
    return MetricInput(**(fields | changes))


METRICS = {"psnr": PSNR(), "ssim": SSIM(), "residual": Residual(), "text_alignment": TextAlignment()}


def test_psnr_by_hand() -> None:
    black = -torch.ones(3, 3, 4, 4)
    image = black.clone()
    image[0] += 0.2  # 0.1 on the [0, 1] scale: 20 dB
    image[1] += 2  # white: 0 dB
    image[2, :, :2] += 2  # half of it white: 3 dB
    assert psnr(image, black).tolist() == pytest.approx([20, 0, 10 * math.log10(2)], abs=1e-5)
    assert psnr(black, black).tolist() == [100.0] * 3


def test_lpips_needs_a_target_and_31_pixels() -> None:
    large = batch(
        target=torch.zeros(4, 3, 40, 36), signal=torch.linspace(0, 1, 4)[:, None, None, None].expand(4, 3, 40, 36)
    )
    values = LPIPS()(large)["lpips"]
    assert values[0] == 0
    assert values[0] < values[1] < values[2] < values[3]
    assert LPIPS()(batch(target=None))["lpips"] == LPIPS()(batch())["lpips"] == [None] * 4


def test_psnr_is_per_image_not_of_the_batch() -> None:
    target = torch.zeros(2, 3, 4, 4)
    image = target + torch.tensor([0.02, 0.2]).reshape(2, 1, 1, 1)
    assert psnr(image, target).tolist() == pytest.approx([40, 20], abs=1e-4)


def windows(x: np.ndarray) -> np.ndarray:
    """Gaussian 11-tap means (sigma 1.5) of an (H, W) picture, of whole windows only, written out."""
    taps = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()
    rows = sum(t * x[:, i : i + x.shape[1] - 10] for i, t in enumerate(taps))
    return np.asarray(sum(t * rows[i : i + x.shape[0] - 10] for i, t in enumerate(taps)))


def test_ssim_against_the_formula() -> None:
    inp = batch(2)
    assert inp.target is not None
    a, b = (((x.double().numpy() + 1) / 2).clip(0, 1) for x in (inp.signal, inp.target))
    expected = []
    for i in range(2):
        maps = []
        for c in range(3):
            x, y = a[i, c], b[i, c]
            mx, my = windows(x), windows(y)
            vx, vy, cov = windows(x * x) - mx**2, windows(y * y) - my**2, windows(x * y) - mx * my
            maps.append((2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
        expected.append(np.mean(maps))
    values = ssim(inp.signal, inp.target)
    assert values is not None
    assert values.tolist() == pytest.approx(expected, abs=1e-9)


def test_ssim_is_that_of_scikit_image() -> None:
    """structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0)."""
    row, column, channel = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (48, 40, 3)), indexing="ij")
    picture = (
        0.5 + 0.3 * torch.sin(0.3 * row + 0.11 * column + channel) + 0.15 * torch.cos(0.9 * column * (channel + 1))
    )
    ringing = 0.2 * torch.exp(-row / 3) * torch.sin(2 * column)  # worst at a border: there the two ways differ most
    one, other = (2 * x.permute(2, 0, 1)[None].clamp(0, 1) - 1 for x in (picture, 0.9 * picture + ringing + 0.02))
    assert float(ssim(one, other)) == pytest.approx(0.9910083111737218, abs=1e-9)  # scikit-image 0.26.0


def test_ssim_scale_is_fixed_and_not_that_of_the_pictures() -> None:
    first = torch.linspace(-0.1, 0.1, 3 * 24 * 20).reshape(1, 3, 24, 20)
    faint = ssim(first, first.flip(3))
    with_a_bright_one = ssim(torch.cat([first, first * 10]), torch.cat([first.flip(3), first.flip(3) * 10]))
    assert faint is not None
    assert with_a_bright_one is not None
    assert float(with_a_bright_one[0]) == pytest.approx(float(faint[0]), abs=1e-9)


def test_ssim_of_one_and_of_small_images() -> None:
    image = torch.linspace(-1, 1, 3 * 11 * 11).reshape(1, 3, 11, 11)
    values = ssim(image, image)
    assert values is not None
    assert values.tolist() == pytest.approx([1.0])
    assert ssim(image[..., :10], image[..., :10]) is None
    y = InverseProblem(y=image[..., :10], operator=Halve(), sigma=0.0, lam=1.0)  # type: ignore[arg-type]
    small = batch(1, signal=image[..., :10], target=image[..., :10], problem=y)
    assert SSIM()(small) == {"ssim": [None]}


def test_residual_in_units_of_the_noise() -> None:
    x = torch.full((2, 3, 4, 4), 0.5)
    y = x / 2 + torch.tensor([0.1, 0.3]).reshape(2, 1, 1, 1)
    noisy = InverseProblem(y=y, operator=Halve(), sigma=0.1, lam=1.0)  # type: ignore[arg-type]
    assert residual(x, noisy).tolist() == pytest.approx([1, 3], rel=1e-5)
    clean = InverseProblem(y=y, operator=Halve(), sigma=0.0, lam=1.0)  # type: ignore[arg-type]
    assert residual(x, clean).tolist() == pytest.approx([0.1, 0.3], rel=1e-5)
    bright = InverseProblem(y=torch.ones(1, 3, 4, 4), operator=Halve(), sigma=0.0, lam=1.0)  # type: ignore[arg-type]
    assert residual(torch.full((1, 3, 4, 4), 2.0), bright).tolist() == [0.5]  # the image counts as 1, not as 2


def test_residual_before_the_last_projection() -> None:
    """None for a solver that has no such step; else of the signal that it returned beside the result."""
    inp = batch(2)
    assert {row["residual_before"] for row in evaluate(METRICS, inp)} == {None}
    before = inp.signal + 0.5
    rows = evaluate(METRICS, batch(2, extras={BEFORE_PROJECTION: before}))
    assert [row["residual_before"] for row in rows] == residual(before, inp.problem).tolist()
    assert [row["residual"] for row in rows] == residual(inp.signal, inp.problem).tolist()


def test_holes_do_not_count_in_the_residual() -> None:
    task = InverseTask(partial(BoxInpainting, box=(0.0, 0.0, 0.5, 1.0)), GaussianNoise(0.1), "holes")
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
    assert residual(x, task.measure(x, ["a", "b"])).tolist() == pytest.approx([1, 1], abs=0.03)


def test_true_image_has_a_residual_of_one() -> None:
    inp = batch(4)
    assert inp.target is not None
    assert residual(inp.target, inp.problem).tolist() == pytest.approx([1] * 4, abs=0.06)


def test_only_nearer_to_a_text_of_what_is_shown_is_better() -> None:
    roles = {"own": ["name", "caption"], "caption": "caption", "other": ["other_1_name", "other_1"], "wrong": "wrong"}
    found = {name: column.higher_is_better for name, column in TextAlignment(roles).columns.items()}
    assert found == {"own": True, "caption": True, "other": None, "wrong": None}
    assert TextAlignment().columns["align_counterfactual"].higher_is_better is None


def test_alignment_where_there_is_a_text() -> None:
    image = -torch.ones(3, 3, 4, 4)
    image[0, 0] = 1  # red
    image[1, 0] = image[1, 1] = 1  # yellow, half way between red and green
    image[2, 1] = 1  # green
    captions = [
        {"caption": "red"},
        {"caption": "red", "counterfactual": "green"},
        {"counterfactual": "green"},
    ]
    y = InverseProblem(y=image, operator=Halve(), sigma=0.0, lam=1.0)  # type: ignore[arg-type]
    inp = batch(3, signal=image, target=None, problem=y, texts=captions)
    half = math.sqrt(0.5)
    values = TextAlignment()(inp)
    assert values["align_own"] == [pytest.approx(1), pytest.approx(half), None]
    assert values["align_counterfactual"] == [None, pytest.approx(half), pytest.approx(1)]
    assert TextAlignment({"x": "style"})(inp) == {"x": [None] * 3}


def test_nothing_to_compare_with_gives_none() -> None:
    inp = batch(2, target=None, prior=SimpleNamespace(image_text=None))
    rows = evaluate(METRICS, inp)
    assert [sorted(row) for row in rows] == [sorted(name for metric in METRICS.values() for name in metric.columns)] * 2
    assert all(row[name] is None for row in rows for name in row if name != "residual")
    assert all(isinstance(row["residual"], float) for row in rows)


def test_values_do_not_depend_on_the_batch() -> None:
    inp = batch(4)
    assert inp.target is not None
    together = evaluate(METRICS, inp)
    for i in range(4):
        y = InverseProblem(y=inp.problem.y[i : i + 1], operator=Halve(), sigma=0.1, lam=1.0)  # type: ignore[arg-type]
        single = batch(
            1,
            signal=inp.signal[i : i + 1],
            target=inp.target[i : i + 1],
            problem=y,
            texts=inp.texts[i : i + 1],
        )
        (row,) = evaluate(METRICS, single)
        for name, value in together[i].items():
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-6)), name


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^target=\(4, 3, 24, 1\): restored .* \(4, 3, 24, 20\)"):
        batch(4, target=torch.zeros(4, 3, 24, 1))
    with pytest.raises(ValueError, match=r"^texts=1: must be one .* 4 signals"):
        batch(4, texts=[{}])
    with pytest.raises(FieldError, match=r"^again=PSNR: fills the column psnr, which psnr fills already"):
        check_metrics({"psnr": PSNR(), "again": PSNR()}, "image")
    with pytest.raises(
        FieldError, match=r"^align=TextAlignment: fills the column nfe, which the run itself fills already"
    ):
        check_metrics({"align": TextAlignment({"nfe": "caption"})}, "image", taken=["nfe"])
    with pytest.raises(FieldError, match=r"^psnr=PSNR: judges image, and the prior makes audio"):
        check_metrics({"residual": Residual(), "psnr": PSNR()}, "audio")


def test_metrics_fill_the_columns_that_they_name() -> None:
    for metric in METRICS.values():
        assert tuple(metric(batch())) == tuple(metric.columns)


def test_what_guidance_optimises_comes_last() -> None:
    metrics = {"align": TextAlignment(), "psnr": PSNR(), "residual": Residual()}
    assert list(columns_of(metrics)) == ["psnr", "residual", "residual_before", "align_own", "align_counterfactual"]
    assert TextAlignment({"style": "style"}).columns["style"].optimised


def test_what_does_not_apply_gives_none() -> None:
    image = batch(2)
    edit = batch(2, problem=EditProblem(image.signal))
    assert {row["residual"] for row in evaluate(METRICS, edit)} == {None}  # nothing is measured
    assert all(isinstance(row["psnr"], float) for row in evaluate(METRICS, edit))
    nothing = InverseProblem(y=torch.zeros(2, 0), operator=Halve(), sigma=0.0, lam=0.0)  # type: ignore[arg-type]
    assert {row["residual"] for row in evaluate(METRICS, batch(2, problem=nothing))} == {None}
    several = batch(2, signal=image.signal[:, None], target=image.signal[:, None], problem=nothing)
    assert {row["psnr"] for row in evaluate(METRICS, several)} == {None}
    sound = batch(2, signal=image.signal[:, 0], target=image.signal[:, 0], problem=nothing, medium="audio")
    assert {row["ssim"] for row in evaluate(METRICS, sound)} == {None}


class Numbers(PSNR):
    """A user's own metric that gives what its library gives."""

    columns: ClassVar = {"n": PSNR().columns["psnr"]}

    def __call__(self, inp: MetricInput) -> Any:
        return {"n": [np.float32(1.5), torch.tensor(2.0), None][: len(inp.signal)]}


def test_numbers_of_other_libraries_become_those_of_json() -> None:
    rows = evaluate({"n": Numbers()}, batch(3))
    assert [type(row["n"]) for row in rows] == [float, float, type(None)]
