"""Non-linear operators against their formulas and other codes; mistakes that are named."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.operators.signals import by_autograd, smooth
from treg_exp.errors import FieldError
from treg_exp.operators.methods import Descent
from treg_exp.operators.nonlinear.intensity import GammaCorrection, HighDynamicRange
from treg_exp.operators.nonlinear.jpeg import JPEG
from treg_exp.operators.nonlinear.phase import PhaseRetrieval

SHAPE = (3, 32, 48)


@pytest.fixture
def x() -> torch.Tensor:
    return smooth(SHAPE, 3, seed=1)


def test_the_first_step_on_magnitudes_takes_the_measured_ones_and_keeps_the_phases(x: torch.Tensor) -> None:
    operator = PhaseRetrieval(2.0, SHAPE, unit_range=False)
    y = operator.A(x.roll(1, 0))
    vertical, horizontal = SHAPE[1] // 4, SHAPE[2] // 4
    padded = torch.nn.functional.pad(x, (horizontal, horizontal, vertical, vertical))
    phases = torch.fft.fftshift(torch.fft.fft2(padded, norm="ortho"), dim=(-2, -1)).angle()
    spectrum = torch.fft.ifftshift(torch.polar(y, phases), dim=(-2, -1))
    expected = torch.fft.ifft2(spectrum, norm="ortho").real[..., vertical:-vertical, horizontal:-horizontal]
    torch.testing.assert_close(operator.prox(y, x, 0.0, Descent(1)), expected, rtol=0, atol=1e-4)


def test_a_wrongly_saturated_pixel_is_led_back() -> None:
    operator = HighDynamicRange(2.0, (3, 1, 3))
    truth = torch.tensor([0.2, -0.3, 0.9]).expand(1, 3, 1, 3)
    start = torch.tensor([0.9, -0.8, 0.6]).expand(1, 3, 1, 3)
    restored = operator.prox(operator.A(truth), start, 0.0)
    torch.testing.assert_close(restored[..., :2], truth[..., :2], rtol=0, atol=1e-3)
    torch.testing.assert_close(restored[..., 2], start[..., 2])  # both saturated: nothing to say


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.2])
def test_the_slope_of_a_gamma_curve_ends_where_it_is_clamped(gamma: float) -> None:
    operator = GammaCorrection(gamma, (3, 1, 7), floor=0.1)
    x = torch.tensor([-1.5, -1.0, -0.8, 0.0, 0.5, 1.0, 1.5]).expand(2, 3, 1, 7)
    y = torch.zeros(2, 3, 1, 7)
    gradient = operator.gradient(y, x)
    torch.testing.assert_close(gradient, by_autograd(operator, y, x))
    assert int(gradient[..., [0, 1, 6]].count_nonzero()) == 0


def test_formulas() -> None:
    x = torch.tensor([-1.0, -0.5, 0.0, 0.7, 1.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    gamma = GammaCorrection(2.0, (3, 1, 5), floor=0.0)
    torch.testing.assert_close(gamma.A(x)[0, 0, 0], torch.tensor([-1.0, -0.875, -0.5, 0.445, 1.0]))
    hdr = HighDynamicRange(2.0, (3, 1, 5))
    torch.testing.assert_close(hdr.A(x)[0, 0, 0], torch.tensor([-1.0, -1.0, 0.0, 1.0, 1.0]))


def test_phase_retrieval_sees_no_shift_and_no_turn() -> None:
    operator, x = PhaseRetrieval(2.0, (3, 16, 16)), torch.zeros(1, 3, 16, 16) - 1
    x[..., 4:9, 3:8] = torch.rand(5, 5)
    y = operator.A(x)
    assert operator.measurement_shape == (3, 24, 24)
    torch.testing.assert_close(operator.A(x.roll(3, -1)), y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(operator.A(x.flip(-1, -2)), y, rtol=1e-4, atol=1e-5)
    energy = ((x + 1) / 2).square().sum()
    torch.testing.assert_close(y.square().sum(), energy, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("subsample", [True, False])
@pytest.mark.parametrize("quality", [10, 75])
def test_jpeg_equals_libjpeg(quality: int, subsample: bool) -> None:
    coarse = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    levels = (torch.nn.functional.interpolate(coarse, SHAPE[1:], mode="bilinear")[0] * 255).round()
    stream = io.BytesIO()
    picture = Image.fromarray(levels.permute(1, 2, 0).byte().numpy())
    picture.save(stream, "JPEG", quality=quality, subsampling=2 if subsample else 0)
    expected = torch.from_numpy(np.asarray(Image.open(stream)).copy()).permute(2, 0, 1).float()
    y = (JPEG(quality, SHAPE, "exact", subsample).A(levels[None] / 127.5 - 1)[0] + 1) * 127.5
    error = (y - expected).square().mean().sqrt()
    lost = (levels - expected).square().mean().sqrt()
    assert float(error) < 2.0  # it computes in whole numbers: some coefficients are rounded the other way
    assert float(error) < 0.3 * float(lost)


def test_exact_rounding_has_no_gradient(x: torch.Tensor) -> None:
    through, exact = (JPEG(10, SHAPE, rounding) for rounding in ("straight_through", "exact"))
    torch.testing.assert_close(through.A(x), exact.A(x), rtol=0, atol=1e-4)
    with pytest.raises(FieldError, match=r"^operator=JPEG: has no gradient as configured"):
        exact.gradient(exact.A(x), x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GammaCorrection(0, SHAPE), "gamma=0: must be > 0"),
        (lambda: GammaCorrection(0.5, SHAPE, floor=0), "floor=0: must be in"),
        (lambda: HighDynamicRange(-1, SHAPE), "scale=-1: must be > 0"),
        (lambda: JPEG(0, SHAPE), "quality=0: must be an integer in 1 ... 100"),
        (lambda: JPEG(10, SHAPE, "round"), "rounding=round: must be one of straight_through, exact"),
        (lambda: PhaseRetrieval(-1, SHAPE), "oversampling=-1: must be in"),
    ],
)
def test_mistakes_are_named(make: object, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        make()
