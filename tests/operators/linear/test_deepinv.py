"""Physics of deepinv through the adapter, made from configuration as a user would."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tests.operators.tasks import PRESETS
from treg_exp.errors import FieldError
from treg_exp.numerics.cg import dot
from treg_exp.operators.linear.blur import GaussianBlur, gaussian_kernel
from treg_exp.operators.linear.deepinv_adapter import DeepinvOperator
from treg_exp.operators.linear.kernel_blur import KernelBlur
from treg_exp.operators.linear.masking import Masking
from treg_exp.operators.linear.mri import FourierLines
from treg_exp.operators.noise.gaussian import GaussianNoise
from treg_exp.tasks.deepinv import DeepinvTask

SHAPE = (3, 16, 16)
GAUSSIAN = {"_target_": "deepinv.physics.functional.gaussian_blur", "psf_size": [9, 9], "sigma": 1.5}
PHYSICS: dict[str, dict[str, Any]] = {
    "Inpainting": {"mask": 0.3},
    "Downsampling": {"factor": 2, "filter": "bicubic"},
    "DownsamplingMatlab": {"factor": 4},
    "Blur": {"filter": GAUSSIAN, "padding": "circular"},
    "BlurFFT": {"filter": GAUSSIAN},
    "Decolorize": {},
    "CompressedSensing": {"m": 40},
    "Denoising": {},
}


def build(name: str, seed: int = 0) -> DeepinvOperator:
    config = OmegaConf.load(PRESETS / "deepinv.yaml")
    config.physics = {
        "_target_": f"deepinv.physics.{name}",
        "_partial_": True,
        "_convert_": "all",
        **PHYSICS[name],
    }
    config.seed = seed
    operator = instantiate(config).build(SHAPE, ["a", "b"])
    assert isinstance(operator, DeepinvOperator)
    return operator


@pytest.fixture(scope="module", params=list(PHYSICS))
def operator(request: pytest.FixtureRequest) -> DeepinvOperator:
    return build(request.param)


def test_prox_is_the_minimiser(operator: DeepinvOperator) -> None:
    x0, y = torch.randn(2, *SHAPE), torch.randn(2, *operator.measurement_shape)
    for lam in (1.0, 0.01):
        x = operator.prox(y, x0, lam)
        gradient = operator.adjoint(operator.A(x) - y) + lam * (x - x0)
        scale = dot(operator.adjoint(y), operator.adjoint(y)).sqrt() + lam * dot(x0, x0).sqrt()
        assert bool((dot(gradient, gradient).sqrt() <= 1e-4 * scale).all())


def test_pinv_fits(operator: DeepinvOperator) -> None:
    y = operator.A(torch.rand(2, *SHAPE) * 2 - 1)
    assert float((operator.A(operator.pinv(y)) - y).norm() / y.norm()) < 1e-2


def test_norm(operator: DeepinvOperator) -> None:
    unit = torch.eye(math.prod(SHAPE)).view(-1, *SHAPE)
    norm = torch.linalg.matrix_norm(operator.A(unit).flatten(1), 2)
    assert operator.norm_sq == pytest.approx(float(norm) ** 2, rel=0.005)


def test_samples_do_not_mix(operator: DeepinvOperator) -> None:
    x0, y = torch.randn(2, *SHAPE), torch.randn(2, *operator.measurement_shape)
    y[1] *= 100
    torch.testing.assert_close(operator.prox(y, x0, 0.1)[:1], operator.prox(y[:1], x0[:1], 0.1), rtol=1e-5, atol=1e-5)


def test_fingerprint_follows_settings_and_seed() -> None:
    assert build("Blur").fingerprint() == build("Blur").fingerprint()
    prints = [build(name).fingerprint() for name in PHYSICS]
    assert len(set(prints)) == len(prints)
    for name in ("Inpainting", "CompressedSensing"):
        assert build(name, seed=1).fingerprint() == build(name, seed=1).fingerprint()
        assert build(name, seed=1).fingerprint() != build(name, seed=2).fingerprint()


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    build("Inpainting")
    assert torch.equal(torch.rand(1), expected)


def test_a_mask_equals_our_own() -> None:
    operator = build("Inpainting")
    mask = operator.measured()[:, :1]
    own = Masking(mask)
    x0, y = torch.randn(2, *SHAPE), torch.randn(2, *SHAPE) * mask
    torch.testing.assert_close(operator.prox(y, x0, 0.3), own.prox(y, x0, 0.3), rtol=1e-4, atol=1e-5)


def test_lines_of_the_fourier_transform_equal_our_own() -> None:
    """It has complex images of one channel, and zero in the middle of both domains."""
    from deepinv.physics import MRI

    ours, x = FourierLines(4.0, 0.2, SHAPE, ["a", "b"]), torch.randn(2, *SHAPE)
    middle = (-2, -1)
    theirs = MRI(mask=torch.fft.fftshift(ours.mask, -1).expand(2, 2, *SHAPE[1:]), img_size=(2, *SHAPE[1:]))
    y, back = ours.A(x), ours.adjoint(ours.A(x))
    for c in range(3):
        scan = torch.stack([x[:, c], torch.zeros_like(x[:, c])], 1)
        other = theirs.A(torch.fft.fftshift(scan, middle))
        torch.testing.assert_close(y[:, :, c], torch.fft.ifftshift(other, middle), rtol=1e-4, atol=1e-5)
        seen = torch.fft.ifftshift(theirs.A_adjoint(other), middle)[:, 0]
        torch.testing.assert_close(back[:, c], seen, rtol=1e-4, atol=1e-5)


def test_a_blur_with_zeros_outside_equals_our_own() -> None:
    from deepinv.physics import Blur

    line = gaussian_kernel(1.5, 7).float()
    kernel = (line[:, None] * line)[None, None]
    x, y = torch.randn(2, *SHAPE), torch.randn(2, *SHAPE)
    separable, spectral = GaussianBlur(1.5, 7, SHAPE, "zero"), KernelBlur(kernel, SHAPE, "zero")
    theirs = DeepinvOperator(Blur(filter=kernel, padding="constant"), SHAPE)
    for ours in (separable, spectral):
        torch.testing.assert_close(ours.A(x), theirs.A(x), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.adjoint(y), theirs.adjoint(y), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.prox(y, x, 0.1), theirs.prox(y, x, 0.1), rtol=1e-3, atol=1e-4)


def test_an_instance_is_copied() -> None:
    from deepinv.physics import Inpainting

    physics = Inpainting(img_size=SHAPE, mask=0.5)
    noise_model = physics.noise_model
    operator = DeepinvTask(physics, GaussianNoise(0.1)).build(SHAPE, ["a"])
    before = operator.fingerprint()
    physics.mask.zero_()
    assert operator.norm_sq == pytest.approx(1.0, rel=1e-3)
    assert operator.fingerprint() == before
    assert physics.noise_model is noise_model


def test_mistakes_are_named() -> None:
    from deepinv.physics import MRI

    noise = GaussianNoise(0.1)
    for wrong in (torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d, partial(torch.nn.Conv2d, 3), partial(print)):
        with pytest.raises(FieldError, match=r"^physics=\w+: must be a deepinv LinearPhysics"):
            DeepinvTask(wrong, noise)
    with pytest.raises(FieldError, match=r"^operator\.physics=MRI: fails for a signal of shape \(3, 16, 16\)"):
        DeepinvTask(MRI, noise).build(SHAPE, ["a"])


def test_a_wrong_adjoint_is_found() -> None:
    from deepinv.physics import LinearPhysics

    physics = LinearPhysics(A=lambda x, **_: x.flip(-1) * 2, A_adjoint=lambda y, **_: y)
    with pytest.raises(ValueError, match="A_adjoint is not the adjoint of A"):
        DeepinvOperator(physics, SHAPE)
