"""Nothing is measured: a problem whose solution is a sample of the prior."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from treg_exp.operators.checks import check_signal_shape
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.methods import ProxMethod


class Nothing(LinearOperator):
    """A x = (), the empty vector: unconditional generation. The proximal step leaves every signal as it is."""

    elementwise = True

    def __init__(self, signal_shape: Sequence[int]) -> None:
        """Takes the shape of the signal."""
        super().__init__(check_signal_shape(signal_shape), (0,))

    @property
    def norm_sq(self) -> float:
        """0; lambda, which is in these units, is 0 as well."""
        return 0.0

    def _A(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :0]

    def _adjoint(self, y: Tensor) -> Tensor:
        return y.new_zeros(len(y), *self.signal_shape)

    def _solve(self, residual: Tensor, lam: float | Tensor) -> Tensor:
        return self._adjoint(residual)

    def _prox_by(self, method: ProxMethod, y: Tensor, x0: Tensor, lam: float | Tensor) -> Tensor:
        return x0
