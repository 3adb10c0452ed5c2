"""Operators that only know themselves, and their adjoint where they are linear, as docs/extending.md describes them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.linear.separable import SeparableOperator
from treg_exp.operators.methods import CG, Descent


class Grey(LinearOperator):
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
    class Exposure(LinearOperator):
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
    with pytest.raises(FieldError, match="operator=Exposure: has parameters per sample and needs a norm_sq of its own"):
        _ = operator.norm_sq


def test_matrices_of_a_separable_operator() -> None:
    H_h, H_w = torch.randn(5, 8), torch.randn(7, 6)
    operator, x = SeparableOperator(H_h, H_w), torch.randn(2, 3, 8, 6)
    torch.testing.assert_close(operator.A(x), torch.einsum("ih,bchw,jw->bcij", H_h, x, H_w))
    norm = torch.linalg.matrix_norm(torch.kron(H_h, H_w), 2)
    assert operator.norm_sq == pytest.approx(float(norm) ** 2, rel=1e-5)
    with pytest.raises(FieldError, match=r"signal_shape=\(3, 8, 8\): the matrices need \(3, 8, 6\)"):
        SeparableOperator(H_h, H_w, signal_shape=(3, 8, 8))


class SoftClip(Operator):
    """A recording through an amplifier that saturates: nothing is said but A."""

    def __init__(self, signal_shape: Sequence[int]) -> None:
        super().__init__(signal_shape, signal_shape)

    def _A(self, x: Tensor) -> Tensor:
        return x.tanh()


@pytest.mark.parametrize("shape", [(1, 32), (2, 1, 32), (7,)], ids=str)
def test_an_operator_of_any_signal_by_its_map_alone(shape: tuple[int, ...]) -> None:
    operator, x = SoftClip(shape), torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    assert not operator.linear
    y = operator.A(x)
    torch.testing.assert_close(operator.gradient(y + 1, x), -(1 - y.square()))
    near = operator.prox(y, torch.zeros_like(x), 0.0)
    assert float(operator.residual(y, near).abs().max()) < 0.05
    assert torch.equal(operator.prox(y, 0 * x, 0.0, Descent(50)), near)
    assert operator.measured().shape == (1, *shape)
    assert torch.equal(operator.preview(y), y)
    assert operator.fingerprint() == SoftClip(shape).fingerprint() != SoftClip((*shape, 2)).fingerprint()


def test_a_linear_operator_of_any_signal() -> None:
    class Halves(LinearOperator):
        """Sums of neighbours of a recording."""

        def __init__(self, signal_shape: Sequence[int]) -> None:
            super().__init__(signal_shape, (*signal_shape[:-1], signal_shape[-1] // 2))

        def _A(self, x: Tensor) -> Tensor:
            return x.unflatten(-1, (-1, 2)).sum(-1)

        def _adjoint(self, y: Tensor) -> Tensor:
            return y.repeat_interleave(2, -1)

    for shape in ((1, 8), (3, 1, 8)):
        operator, x = Halves(shape), torch.randn(2, *shape)
        y, start = operator.A(x), torch.zeros_like(x)
        assert operator.norm_sq == pytest.approx(2.0, rel=1e-4)
        for method in (CG(5, 1e-6), Descent(100)):
            near = operator.prox(y, start, 0.5, method)
            torch.testing.assert_close(near, operator.prox(y, start, 0.5), atol=1e-3, rtol=0)
        assert operator.measured().shape == (1, *operator.measurement_shape)
        torch.testing.assert_close(operator.A(operator.null_space(x)), 0 * y, atol=1e-5, rtol=0)


def test_a_shape_without_extent_is_refused() -> None:
    with pytest.raises(FieldError, match=r"^signal_shape=\(1, 0\): must have axes of length >= 1"):
        SoftClip((1, 0))
