"""Gaussian blur, the same on all channels.

The kernel is separable, so the operator is two banded square matrices. The blur of the released TReg code
(inherited from the DDRM family) differs: it pairs singular values with the wrong channels, reads 60 taps and
drops 1-D singular values below 0.03. ``truncation=0.03`` reproduces the last of the three.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.numerics.boundary import check_boundary, filter_matrix
from treg_exp.numerics.singular_values import Axis
from treg_exp.operators.checks import check_image_shape, check_kernel_size
from treg_exp.operators.linear.separable import SeparableOperator


def gaussian_kernel(sigma: float, kernel_size: int) -> Tensor:
    """(kernel_size,) float64 samples of a Gaussian about the middle tap, sum 1."""
    position = torch.arange(kernel_size, dtype=torch.float64) - kernel_size // 2
    weights = torch.exp(-0.5 * (position / sigma) ** 2)
    return weights / weights.sum()


@lru_cache(maxsize=32)
def gaussian_axis(sigma: float, kernel_size: int, size: int, boundary: str, truncation: float) -> Axis:
    """The decomposed (size, size) matrix of the one-dimensional blur."""
    offsets = torch.arange(kernel_size) - kernel_size // 2
    taps = torch.arange(size)[:, None] + offsets
    matrix = filter_matrix(taps, gaussian_kernel(sigma, kernel_size)[None], size, boundary)
    return Axis.of(matrix, truncation)


class GaussianBlur(SeparableOperator):
    """Convolution with a Gaussian; the measurement has the size of the image.

    Attributes:
        sigma: standard deviation of the Gaussian in pixels, > 0.
        kernel_size: number of taps per axis, odd, at most the image's sides.
        boundary: what lies outside the image: zero, reflect, symmetric or circular.
        truncation: one-dimensional singular values below it are removed from the operator; 0 keeps all.
    """

    def __init__(
        self,
        sigma: float,
        kernel_size: int,
        signal_shape: Sequence[int],
        boundary: str = "zero",
        truncation: float = 0.0,
        rcond: float = 1e-4,
    ) -> None:
        """Takes the fields above, the image shape (3, H, W) and the cut-off of the pseudo-inverse."""
        _, height, width = check_image_shape(signal_shape)
        _check(sigma, boundary, truncation)
        check_kernel_size(kernel_size, height, width)
        rows, columns = (gaussian_axis(sigma, kernel_size, n, boundary, truncation) for n in (height, width))
        if min(float(rows.s.max()), float(columns.s.max())) == 0:
            raise FieldError("truncation", truncation, "removes the whole operator")
        super().__init__(rows, columns, rcond=rcond)
        self.sigma, self.kernel_size = float(sigma), int(kernel_size)
        self.boundary, self.truncation = boundary, float(truncation)


def _check(sigma: float, boundary: str, truncation: float) -> None:
    if not 0 < sigma < float("inf"):
        raise FieldError("sigma", sigma, "width of the blur must be > 0 pixels")
    check_boundary(boundary)
    if not 0 <= truncation < float("inf"):
        raise FieldError("truncation", truncation, "must be >= 0")
