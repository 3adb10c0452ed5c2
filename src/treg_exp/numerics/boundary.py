"""The matrix of a one-dimensional filter, with a rule for what lies outside the image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from treg_exp.operators.checks import is_count


def symmetric(index: Tensor, size: int) -> Tensor:
    """Mirror that repeats the edge, ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..., for any distance from the image."""
    folded = index % (2 * size)
    return folded.minimum(2 * size - 1 - folded)


def reflect(index: Tensor, size: int) -> Tensor:
    """Mirror about the edge pixel, ... 2 1 | 0 1 ... n-1 | n-2 ..., torch's padding mode of that name."""
    folded = index % max(2 * size - 2, 1)
    return folded.minimum(2 * size - 2 - folded)


def circular(index: Tensor, size: int) -> Tensor:
    """Periodic image."""
    return index % size


BOUNDARIES: dict[str, Callable[[Tensor, int], Tensor] | None] = {
    "zero": None,
    "reflect": reflect,
    "symmetric": symmetric,
    "circular": circular,
}


def check_boundary(boundary: str) -> None:
    """ValueError unless ``boundary`` is the name of a rule."""
    if boundary not in BOUNDARIES:
        raise ValueError(f"boundary={boundary!r}: must be one of {', '.join(BOUNDARIES)}")


def check_kernel_size(kernel_size: int, height: int, width: int) -> None:
    """ValueError unless ``kernel_size`` is odd and at most both sides of the image."""
    if not is_count(kernel_size) or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size={kernel_size!r}: must be an odd integer >= 1")
    if kernel_size > min(height, width):
        raise ValueError(f"kernel_size={kernel_size}: is larger than the {height}x{width} image")


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
