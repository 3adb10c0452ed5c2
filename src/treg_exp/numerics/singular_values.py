"""Singular values: of the matrix along one axis, and what a damped inverse makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Axis:
    """The matrix that acts along one axis, with its singular value decomposition; all float32.

    Attributes:
        matrix: (h, H).
        U: (h, r), r = min(h, H).
        s: (r,) singular values, descending.
        V: (H, r).
    """

    matrix: Tensor
    U: Tensor
    s: Tensor
    V: Tensor

    @classmethod
    def of(cls, matrix: Tensor, truncation: float = 0.0) -> Axis:
        """Decomposes (h, H) in float64; singular values below ``truncation`` leave the matrix itself."""
        exact = matrix.to(torch.float64)
        U, s, Vh = torch.linalg.svd(exact, full_matrices=False)
        if truncation > 0:
            s = torch.where(s < truncation, 0.0, s)
            exact = U * s @ Vh
        return cls(exact.float(), U.float(), s.float(), Vh.mT.contiguous().float())


def gains(s: Tensor, lam: float | Tensor, rcond: float) -> Tensor:
    """Gains s / (s^2 + lam) of (..., h, w) singular values; for lam = 0 they are 1 / s with a relative cut-off.

    A ``lam`` per sample is (B, 1, 1, 1), and so are the gains then, (B, ..., h, w).
    """
    if isinstance(lam, Tensor):
        return torch.where(lam > 0, s / (s.square() + lam), gains(s, 0.0, rcond))
    if lam > 0:
        return s / (s.square() + lam)
    kept = s > rcond * s.amax((-2, -1), keepdim=True)
    return torch.where(kept, 1 / torch.where(kept, s, 1.0), 0.0)
