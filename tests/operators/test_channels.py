"""Channels one after the other, as large images are taken, give what all of them at once give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.operators.conftest import IDS
from tests.operators.tasks import load_task
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.kernel_blur import KernelBlur

SHAPE = (3, 32, 48)


def preset(name: str, **changes: object) -> Operator:
    return load_task(name, **changes).build(SHAPE, IDS)


OPERATORS: dict[str, Operator] = {
    "mri": preset("mri_x4"),
    "phase": preset("phase_retrieval"),
    "kernel": preset("anisotropic_deblur"),
    **{
        f"motion, {rule}": preset("motion_deblur", operator__boundary=rule)
        for rule in ("circular", "zero", "reflect", "symmetric")
    },
    # The seed matters: an ill-conditioned kernel would compare how far two iterations have come.
    "one kernel, reflect": KernelBlur(
        torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0)), SHAPE, "reflect"
    ),
}


@pytest.fixture(params=list(OPERATORS))
def operator(request: pytest.FixtureRequest) -> Operator:
    return OPERATORS[request.param]


def draw(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.rand(3, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def results(operator: Operator) -> list[Tensor]:
    """Every map, and its derivative by autograd in each of its inputs."""
    x, y = draw(operator.signal_shape, 1), draw(operator.measurement_shape, 2)
    outputs = [operator.gradient(y, x), operator.prox(y, x, 0.1 * operator.norm_sq)]
    x.requires_grad_(), y.requires_grad_()
    maps = [operator.A(x)]
    if operator.linear:
        maps += [operator.adjoint(y), operator.prox(y, x, 0.1 * operator.norm_sq)]
    for image in maps:
        weights = torch.rand(image.shape, generator=torch.Generator().manual_seed(3))
        inputs = torch.autograd.grad((weights * image).sum(), (x, y), allow_unused=True)
        outputs += [image.detach(), *(gradient for gradient in inputs if gradient is not None)]
    return outputs


def test_one_channel_at_a_time_gives_the_same(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    together = results(operator)
    monkeypatch.setattr("treg_exp.numerics.channels.SMALL", 0)
    apart = results(operator)
    assert len(apart) == len(together) == (9 if operator.linear else 4)
    for one, other in zip(apart, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
