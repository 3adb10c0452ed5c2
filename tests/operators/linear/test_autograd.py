"""Derivatives through steps that are iterated: conjugate gradients change in place what autograd does not record."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from treg_exp.operators.base import Operator
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.operators.linear.blur import GaussianBlur, gaussian_kernel
from treg_exp.operators.linear.composition import Composition
from treg_exp.operators.linear.kernel_blur import KernelBlur
from treg_exp.operators.linear.radon import SparseViewCT

SHAPE = (3, 12, 16)
LINE = gaussian_kernel(0.6, 3).float()
ITERATED: dict[str, Operator] = {
    "reflecting blur": KernelBlur((LINE[:, None] * LINE)[None, None], SHAPE, "reflect"),
    "composition": Composition(partial(GaussianBlur, 0.6, 3), partial(AveragePooling, 2), SHAPE, ["a"]),
    "ct": SparseViewCT(8, SHAPE),
}


def draw(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))


def assert_derivative(function: Callable[..., Tensor], *at: Tensor) -> None:
    """Autograd agrees with central differences along a random direction of each input."""
    inputs = [value.clone().requires_grad_() for value in at]
    image = function(*inputs)
    weights = draw(image.shape[1:], 9)
    gradients = torch.autograd.grad((weights * image).sum(), inputs)
    assert torch.allclose(image, function(*at), rtol=1e-5, atol=1e-5)  # in place and out of place
    for place, gradient in enumerate(gradients):
        way = draw(at[place].shape[1:], 10 + place)
        ahead, back = (
            function(*(value + sign * way if i == place else value for i, value in enumerate(at))) for sign in (1, -1)
        )
        expected = float((weights * (ahead - back)).sum() / 2)
        scale = float(gradient.norm() * way.norm())
        assert float((gradient * way).sum()) == pytest.approx(expected, abs=1e-3 * scale)


@pytest.mark.parametrize("name", ITERATED)
def test_through_the_proximal_step(name: str) -> None:
    operator = ITERATED[name]
    y, x0, lam = draw(operator.measurement_shape, 1), draw(SHAPE, 2), 0.1 * operator.norm_sq
    assert_derivative(lambda y, x0: operator.prox(y, x0, lam), y, x0)


@pytest.mark.parametrize("name", ["reflecting blur", "composition"])
def test_through_the_pseudo_inverse(name: str) -> None:
    assert_derivative(ITERATED[name].pinv, draw(ITERATED[name].measurement_shape, 1))


def test_inputs_stay_as_they_are() -> None:
    operator = ITERATED["reflecting blur"]
    y, x0 = draw(operator.measurement_shape, 1), draw(SHAPE, 2)
    before = y.clone(), x0.clone()
    operator.prox(y, x0, 0.1), operator.pinv(y)
    assert torch.equal(y, before[0])
    assert torch.equal(x0, before[1])
