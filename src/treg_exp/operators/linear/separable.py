"""Operators that act on rows and columns alike: A x = H_h x H_w^T, per channel.

Two small matrices replace a two-dimensional convolution: the adjoint is exact, and the singular values of A
are the products of those of H_h and H_w, which gives the proximal step and the pseudo-inverse in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.numerics.banded import bands, on_columns, on_rows
from treg_exp.numerics.singular_values import Axis, gains
from treg_exp.operators.checks import check_rcond
from treg_exp.operators.linear.base import LinearOperator


class SeparableOperator(LinearOperator):
    """A x = H_h x H_w^T on every channel.

    Attributes:
        H_h: (h, H) acts along the height.
        H_w: (w, W) acts along the width.
        rcond: for lam = 0 and ``pinv``, singular values below ``rcond`` times the largest count as zero.
            float32 residuals carry an error of about 1e-7, which is amplified by up to 1/rcond.
    """

    def __init__(
        self,
        H_h: Tensor | Axis,
        H_w: Tensor | Axis,
        signal_shape: Sequence[int] | None = None,
        rcond: float = 1e-4,
    ) -> None:
        """Takes the two matrices, (h, H) and (w, W); ``signal_shape`` is checked against them if given."""
        height, width = (H if isinstance(H, Axis) else Axis.of(H) for H in (H_h, H_w))
        h, w = height.matrix.shape[0], width.matrix.shape[0]
        inside = (3, height.matrix.shape[1], width.matrix.shape[1])
        if signal_shape is not None and tuple(signal_shape) != inside:
            raise FieldError("signal_shape", tuple(signal_shape), f"the matrices need {inside}")
        check_rcond(rcond)
        super().__init__(inside, (3, h, w))
        self.rcond = rcond
        self.H_h, self.H_w = height.matrix, width.matrix
        self._bands_h, self._bands_w = bands(self.H_h), bands(self.H_w)
        self._bands_ht, self._bands_wt = bands(self.H_h.mT), bands(self.H_w.mT)
        self._U_h, self._V_h = height.U, height.V
        self._U_w, self._V_w = width.U, width.V
        self._s = height.s[:, None] * width.s[None, :]

    @property
    def singular_values(self) -> Tensor:
        """(r_h, r_w) singular values of A on one channel, one per pair of row and column modes."""
        return self._s

    @property
    def norm_sq(self) -> float:
        """||A||^2 from the singular values."""
        return float(self._s[0, 0]) ** 2

    def _A(self, x: Tensor) -> Tensor:
        return on_rows(self.H_h, self._bands_h, on_columns(self.H_w, self._bands_w, x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return on_columns(self.H_w.mT, self._bands_wt, on_rows(self.H_h.mT, self._bands_ht, y))

    def _solve(self, residual: Tensor, lam: float | Tensor) -> Tensor:
        modes = self._U_h.mT @ residual @ self._U_w
        return self._V_h @ (gains(self._s, lam, self.rcond) * modes) @ self._V_w.mT
