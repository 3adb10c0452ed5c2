"""An operator that only knows itself and its adjoint, as docs/tasks.md describes it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from treg_exp.operators.base import Operator
from treg_exp.operators.linear.separable import SeparableOperator
from treg_exp.operators.methods import CG


class Grey(Operator):
    """The mean of the channels."""

    def __init__(self, signal_shape: Sequence[int]) -> None:
        super().__init__(signal_shape, (1, *signal_shape[1:]))

    def _A(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True)

    def _adjoint(self, y: Tensor) -> Tensor:
        return y.expand(-1, 3, -1, -1) / 3


def test_everything_else_is_inherited() -> None:
    operator, x = Grey((3, 8, 6)), torch.randn(2, 3, 8, 6)
    y = operator.A(x) + 1
    assert operator.norm_sq == pytest.approx(1 / 3, rel=1e-4)
    torch.testing.assert_close(operator.pinv(y), y.expand_as(x))
    for lam in (0.0, 0.5):
        exact = x + (1 / 3) / (1 / 3 + lam)  # the residual is 1, and A A^T = 1 / 3
        torch.testing.assert_close(operator.prox(y, x, lam), exact)
        torch.testing.assert_close(operator.prox(y, x, lam, CG(5, 1e-6)), exact)
    assert operator.measured().shape == (1, 1, 8, 6)
    assert operator[1] is not operator
    assert operator.fingerprint() != Grey((3, 8, 8)).fingerprint()


def test_parameters_with_one_entry_per_sample() -> None:
    class Exposure(Operator):
        per_sample = ("gain",)

        def __init__(self, gain: Tensor) -> None:
            super().__init__((3, 4, 4), (3, 4, 4))
            self.gain = gain.view(-1, 1, 1, 1)

        def _A(self, x: Tensor) -> Tensor:
            return self.gain * x

        def _adjoint(self, y: Tensor) -> Tensor:
            return self.gain * y

    operator, x = Exposure(torch.tensor([0.5, 2.0])), torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(operator.pinv(operator.A(x)), x)
    assert operator.fingerprint(0) == Exposure(torch.tensor([0.5])).fingerprint()
    assert operator.fingerprint(0) != operator.fingerprint(1)
    assert operator.to("cpu").gain is not None
    assert operator.measured().shape == (2, 3, 4, 4)
    with pytest.raises(ValueError, match="Exposure: has parameters per sample and needs a norm_sq of its own"):
        _ = operator.norm_sq


def test_matrices_of_a_separable_operator() -> None:
    H_h, H_w = torch.randn(5, 8), torch.randn(7, 6)
    operator, x = SeparableOperator(H_h, H_w), torch.randn(2, 3, 8, 6)
    torch.testing.assert_close(operator.A(x), torch.einsum("ih,bchw,jw->bcij", H_h, x, H_w))
    norm = torch.linalg.matrix_norm(torch.kron(H_h, H_w), 2)
    assert operator.norm_sq == pytest.approx(float(norm) ** 2, rel=1e-5)
    with pytest.raises(ValueError, match=r"signal_shape=\(3, 8, 8\): the matrices need \(3, 8, 6\)"):
        SeparableOperator(H_h, H_w, signal_shape=(3, 8, 8))
