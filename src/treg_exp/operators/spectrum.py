"""Coordinates in which a linear operator is diagonal, for methods that treat every singular direction by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.errors import FieldError
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.masking import Masking
from treg_exp.operators.linear.separable import SeparableOperator


@dataclass(frozen=True)
class Spectrum:
    """A = U S V^T, with as many coordinates as a signal has numbers, in its shape.

    Attributes:
        values: singular value of each coordinate, broadcasts to (B, *signal_shape); 0 where nothing is seen.
        turn: V^T, signals (B, *signal_shape) to coordinates.
        turn_back: V, the other way.
        seen: S^+ U^T, measurements to the coordinates of the least signal that explains them.
    """

    values: Tensor
    turn: Callable[[Tensor], Tensor]
    turn_back: Callable[[Tensor], Tensor]
    seen: Callable[[Tensor], Tensor]


@runtime_checkable
class Spectral(Protocol):
    """An operator that knows its spectrum."""

    def spectrum(self) -> Spectrum:
        """See :class:`Spectrum`."""
        ...


def has_spectrum(operator: Operator) -> bool:
    """Whether ``spectrum_of`` knows it."""
    return isinstance(operator, Spectral | Masking | SeparableOperator)


def spectrum_of(operator: Operator) -> Spectrum:
    """The spectrum of masks and of what acts on rows and columns alike.

    Raises:
        FieldError: another operator.
    """
    if isinstance(operator, Spectral):
        return operator.spectrum()
    if isinstance(operator, Masking):
        return Spectrum(operator.mask, lambda x: x, lambda v: v, operator.adjoint)
    if isinstance(operator, SeparableOperator):
        return _of_axes(operator)
    raise FieldError("operator", type(operator).__name__, "has no singular value decomposition that is known")


def _of_axes(operator: SeparableOperator) -> Spectrum:
    (u_h, s_h, v_h), (u_w, s_w, v_w) = (_complete(matrix) for matrix in (operator.H_h, operator.H_w))
    s = s_h[:, None] * s_w[None, :]
    s = torch.where(s > operator.rcond * s.max(), s, 0.0)
    inverse = torch.where(s > 0, 1 / torch.where(s > 0, s, 1.0), 0.0)

    def seen(y: Tensor) -> Tensor:
        modes = u_h.mT @ y @ u_w
        missing = (0, s.shape[1] - modes.shape[-1], 0, s.shape[0] - modes.shape[-2])
        return inverse * F.pad(modes, missing)

    return Spectrum(s, lambda x: v_h.mT @ x @ v_w, lambda v: v_h @ v @ v_w.mT, seen)


def _complete(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U (h, r), all H singular values and V (H, H) of (h, H), float32."""
    u, s, vh = torch.linalg.svd(matrix.cpu().to(torch.float64), full_matrices=True)
    count = min(matrix.shape)
    s = F.pad(s, (0, matrix.shape[1] - count))
    return u[:, :count].to(matrix), s.to(matrix), vh.mT.contiguous().to(matrix)
