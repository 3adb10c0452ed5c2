"""Nothing measured: every step leaves signals as they are, and no division by a norm of zero goes wrong."""

from __future__ import annotations

import pytest
import torch

from treg_exp.operators.in_range import prox_in_range
from treg_exp.operators.linear.nothing import Nothing
from treg_exp.operators.methods import CG, Descent, Exact

SHAPES = [(3, 8, 6), (1, 32), (2, 1, 32)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_step_leaves_signals_as_they_are(shape: tuple[int, ...]) -> None:
    operator, x = Nothing(shape), 2 * torch.randn(2, *shape)
    y = operator.A(x)
    assert y.shape == (2, 0)
    assert operator.norm_sq == 0
    for method in (Exact(), CG(), Descent()):
        for lam in (0.0, 0.5):
            assert torch.equal(operator.prox(y, x, lam, method), x)
    assert torch.equal(prox_in_range(operator, y, x, 0.0), x.clamp(-1, 1))
    assert torch.equal(operator.null_space(x), x)
    for zeros in (operator.pinv(y), operator.adjoint(y), operator.preview(y), operator.gradient(y, x)):
        assert torch.equal(zeros, torch.zeros_like(x))
