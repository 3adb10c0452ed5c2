"""The matrix of a one-dimensional filter, with a rule for what lies outside the signal."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from treg_exp.errors import FieldError


def symmetric(index: Tensor, size: int) -> Tensor:
    """Mirror that repeats the edge, ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..., for any distance from the signal."""
    folded = index % (2 * size)
    return folded.minimum(2 * size - 1 - folded)


def reflect(index: Tensor, size: int) -> Tensor:
    """Mirror about the edge entry, ... 2 1 | 0 1 ... n-1 | n-2 ..., torch's padding mode of that name."""
    folded = index % max(2 * size - 2, 1)
    return folded.minimum(2 * size - 2 - folded)


def circular(index: Tensor, size: int) -> Tensor:
    """Periodic signal."""
    return index % size


BOUNDARIES: dict[str, Callable[[Tensor, int], Tensor] | None] = {
    "zero": None,
    "reflect": reflect,
    "symmetric": symmetric,
    "circular": circular,
}


def check_boundary(boundary: str) -> None:
    """FieldError unless ``boundary`` is the name of a rule."""
    if boundary not in BOUNDARIES:
        raise FieldError("boundary", boundary, f"must be one of {', '.join(BOUNDARIES)}")


def filter_matrix(taps: Tensor, weights: Tensor, size: int, boundary: str) -> Tensor:
    """The matrix M with (M v)_i = sum_k weights[i, k] v[taps[i, k]].

    Args:
        taps: (rows, K) int64 positions; they may lie outside 0 ... size - 1.
        weights: (rows, K) or (1, K) float64.
        size: length of the signal.
        boundary: one of ``BOUNDARIES``; ``zero`` reads zeros outside.

    Returns:
        (rows, size) float64.
    """
    extend = BOUNDARIES[boundary]
    weights = weights.expand(taps.shape)
    if extend is None:
        weights = weights.where((taps >= 0) & (taps < size), 0.0)
    index = taps.clamp(0, size - 1) if extend is None else extend(taps, size)
    matrix = torch.zeros(len(taps), size, dtype=torch.float64)
    return matrix.scatter_add_(1, index, weights)
