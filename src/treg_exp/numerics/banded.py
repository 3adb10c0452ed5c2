"""Products with banded matrices: a filter reads a few neighbours, so most of its matrix is zero."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

Bands: TypeAlias = tuple[tuple[slice, slice], ...]

ROWS = 32  # per part: fewer rows waste less of the band's corners, more rows make faster products
WORTH = 0.7  # the share of a matrix's entries above which it is multiplied as a whole


def bands(matrix: Tensor) -> Bands:
    """Parts of (h, H) that hold all entries other than zero: rows, and the columns from the first to the last entry."""
    parts = []
    for start in range(0, matrix.shape[0], ROWS):
        rows = slice(start, min(start + ROWS, matrix.shape[0]))
        used = matrix[rows].any(0).nonzero().flatten().tolist() or [0]
        parts.append((rows, slice(used[0], used[-1] + 1)))
    share = sum((r.stop - r.start) * (c.stop - c.start) for r, c in parts) / matrix.numel()
    return tuple(parts) if share < WORTH else ((slice(0, matrix.shape[0]), slice(0, matrix.shape[1])),)


def on_rows(matrix: Tensor, parts: Bands, x: Tensor) -> Tensor:
    """``matrix @ x`` for (h, H) and (..., H, W)."""
    return _joined([matrix[rows, columns] @ x[..., columns, :] for rows, columns in parts], -2)


def on_columns(matrix: Tensor, parts: Bands, x: Tensor) -> Tensor:
    """``x @ matrix.mT`` for (w, W) and (..., H, W)."""
    return _joined([x[..., columns] @ matrix[rows, columns].mT for rows, columns in parts], -1)


def _joined(parts: list[Tensor], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, axis)
