"""Linear operators whose singular values are all alike: A A^T A = c A.

Averages of disjoint pixels, colour weights, subsampled orthonormal transforms: their rows are orthogonal and of
equal norm, so proximal step and pseudo-inverse are one adjoint and a division.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from treg_exp.operators.linear.base import LinearOperator


class TightOperator(LinearOperator):
    """An operator whose singular values are sqrt(c) or 0.

    Attributes:
        row_norm_sq: c, the squared norm of a row, > 0.
    """

    def __init__(self, signal_shape: Sequence[int], measurement_shape: Sequence[int], row_norm_sq: float = 1.0) -> None:
        """Takes the shapes of one signal and of one measurement, and c."""
        super().__init__(signal_shape, measurement_shape)
        self.row_norm_sq = float(row_norm_sq)

    @property
    def norm_sq(self) -> float:
        """||A||^2 = c."""
        return self.row_norm_sq

    def _solve(self, residual: Tensor, lam: float | Tensor) -> Tensor:
        return self._adjoint(residual) / (self.row_norm_sq + lam)
