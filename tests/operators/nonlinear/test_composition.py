"""Compositions with a non-linear part."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from tests.operators.conftest import IDS
from tests.operators.signals import smooth
from tests.operators.tasks import load_task
from treg_exp.errors import FieldError
from treg_exp.operators.linear.blur import GaussianBlur
from treg_exp.operators.linear.masking import RandomInpainting
from treg_exp.operators.noise.gaussian import GaussianNoise
from treg_exp.operators.nonlinear.composition import NonlinearComposition
from treg_exp.operators.nonlinear.intensity import GammaCorrection
from treg_exp.operators.nonlinear.jpeg import JPEG
from treg_exp.tasks.inverse import InverseTask

SHAPE = (3, 32, 48)


@pytest.fixture
def x() -> torch.Tensor:
    return smooth(SHAPE, 3, seed=1)


def test_a_composition_does_one_after_the_other(x: torch.Tensor) -> None:
    blur = GaussianBlur(sigma=1.0, kernel_size=7, signal_shape=SHAPE)
    darken = GammaCorrection(2.2, SHAPE)
    both = NonlinearComposition(lambda signal_shape: darken, lambda signal_shape: blur, SHAPE, IDS)
    torch.testing.assert_close(both.A(x), blur.A(darken.A(x)))
    assert both.norm_sq == blur.norm_sq
    assert both.preview(both.A(x)).shape == x.shape
    exact = NonlinearComposition(
        lambda signal_shape: blur, lambda signal_shape: JPEG(50, signal_shape, rounding="exact"), SHAPE, IDS
    )
    assert both.differentiable
    assert not exact.differentiable
    with pytest.raises(FieldError, match=r"^operator=NonlinearComposition: has no gradient as configured"):
        exact.gradient(exact.A(x), x)


def test_light_spreads_further_than_its_encoding() -> None:
    """A bright point on black: in linear light the blurred point is brighter, as 0.1 of the light looks like 0.35."""
    task = load_task("nonlinear_deblur")
    point = torch.full((1, *SHAPE), -1.0)
    point[..., 16, 24] = 1.0
    operator = task.build(SHAPE, ["a"])
    encoded = GaussianBlur(3.0, 25, SHAPE, "reflect").A(point)
    expected = 2 * ((encoded + 1) / 2).clamp(1e-3, 1) ** (1 / 2.2) - 1
    torch.testing.assert_close(operator.A(point), expected, rtol=0, atol=5e-3)
    assert float((operator.A(point) - encoded).max()) > 0.2


def test_holes_of_a_mask_at_the_end_stay_without_noise(x: torch.Tensor) -> None:
    make = partial(NonlinearComposition, partial(GammaCorrection, 2.2), partial(RandomInpainting, 0.5))
    task = InverseTask(operator=make, noise=GaussianNoise(0.1), name="t")
    measurement = task.measure(x, IDS)
    assert isinstance(measurement.operator, NonlinearComposition)
    mask = measurement.operator.second.measured()
    assert int(mask.sum()) == mask.numel() // 2
    assert torch.equal(measurement.operator.measured(), mask)
    assert torch.equal(measurement.y * mask, measurement.y)


def test_the_part_that_is_wrong_is_named() -> None:
    for first, second, field in (
        (partial(GammaCorrection, 0), partial(JPEG, 50), r"first\.gamma=0: must be > 0"),
        (partial(GammaCorrection, 2.2), partial(JPEG, 0), r"second\.quality=0: must be an integer"),
        (partial(GammaCorrection, 2.2), JPEG(50, SHAPE), r"second=JPEG: must be callable"),
    ):
        with pytest.raises(FieldError, match=f"^{field}"):
            NonlinearComposition(first, second, SHAPE, IDS)
