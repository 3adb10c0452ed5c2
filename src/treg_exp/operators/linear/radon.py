"""Sparse-view computed tomography: parallel-beam projections of the image at a few angles.

A pixel's centre falls between two detector bins and is shared between them linearly, so the matrix has two entries
per pixel and angle, and the adjoint is its exact transpose. Every colour channel is projected like a slice.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from treg_exp.operators.checks import check_image_shape, check_integer
from treg_exp.operators.linear.base import LinearOperator


class SparseViewCT(LinearOperator):
    """y = line integrals / the larger side of the image, as (3, angles, bins); proximal steps by CGLS.

    The division keeps y in about [-1, 1] at every image size. Bins are as wide as pixels and cover the diagonal;
    those that no pixel reaches are not measured. The smallest singular values are 1e-5 of the largest, so ``pinv``
    and lam = 0 end where the iterations do.

    Attributes:
        angles: number of views, evenly spread over 180 degrees from 0, >= 1.
    """

    pictured = False  # a sinogram

    def __init__(self, angles: int, signal_shape: Sequence[int]) -> None:
        """Takes the number of views and the image shape (3, H, W)."""
        _, height, width = shape = check_image_shape(signal_shape)
        check_integer("angles", angles, most=5000)
        self.angles = int(angles)
        super().__init__(shape, (3, self.angles, detector_bins(height, width)))
        self._matrix, self._transpose = projection_matrix(self.angles, height, width)

    def measured(self) -> Tensor:
        """The bins that some pixel reaches."""
        return (self._A(torch.ones(1, *self.signal_shape, device=self._device())) != 0).to(torch.float32)

    def _A(self, x: Tensor) -> Tensor:
        return _product(self._matrix, self._transpose, x, self.measurement_shape[1:])

    def _adjoint(self, y: Tensor) -> Tensor:
        return _product(self._transpose, self._matrix, y, self.signal_shape[1:])


def detector_bins(height: int, width: int) -> int:
    """Bins of pixel width that cover the diagonal of the image."""
    return math.ceil(math.hypot(height, width)) + 1


@lru_cache(maxsize=4)
def projection_matrix(angles: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The (angles * bins, H W) matrix and its transpose, sparse (CSR) float32."""
    bins, pixels = detector_bins(height, width), torch.arange(height * width)
    row = (height - 1) / 2 - pixels.div(width, rounding_mode="floor").double()  # upwards, from the centre
    column = (pixels % width).double() - (width - 1) / 2
    theta = torch.arange(angles, dtype=torch.float64)[:, None] * math.pi / angles
    place = column * theta.cos() + row * theta.sin() + (bins - 1) / 2
    lower = place.floor()
    upper_share = place - lower
    first = (torch.arange(angles)[:, None] * bins + lower.long()).flatten()
    rows, columns = torch.cat([first, first + 1]), pixels.repeat(2 * angles)
    values = torch.cat([(1 - upper_share).flatten(), upper_share.flatten()]) / max(height, width)
    used = values > 1e-9  # a pixel that falls onto a bin has no share in the next one
    rows, columns, values = rows[used], columns[used], values[used].float()
    shape = (angles * bins, height * width)
    return _compressed(rows, columns, values, shape), _compressed(columns, rows, values, (shape[1], shape[0]))


def _compressed(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Sparse (CSR) matrix of entries at different places."""
    order = (rows * shape[1] + columns).argsort()
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), rows.bincount(minlength=shape[0]).cumsum(0)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        # int32: the product would copy wider indices to it on every call
        starts, columns = starts.int(), columns[order].int()
        return torch.sparse_csr_tensor(starts, columns, values[order], shape, check_invariants=False)


def _product(matrix: Tensor, transpose: Tensor, x: Tensor, shape: Sequence[int]) -> Tensor:
    """``matrix`` times every channel of (B, 3, ...), reshaped to (B, 3, *shape)."""
    columns = x.reshape(x.shape[0] * x.shape[1], -1).mT.contiguous()
    product: Tensor = _SparseProduct.apply(matrix, transpose, columns)
    return product.mT.reshape(*x.shape[:2], *shape)


class _SparseProduct(torch.autograd.Function):
    """A sparse matrix times columns, whose gradient is the product with the given transpose."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transpose: Tensor, columns: Tensor) -> Tensor:
        ctx.matrix, ctx.transpose = matrix, transpose
        return matrix @ columns

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        product: Tensor = _SparseProduct.apply(ctx.transpose, ctx.matrix, gradients[0].contiguous())
        return None, None, product
