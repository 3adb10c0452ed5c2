"""Where a filter that reaches over the edge of the image reads from."""

from __future__ import annotations

from torch import Tensor


def mirrored(index: Tensor, size: int) -> Tensor:
    """Half-sample symmetric extension: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..., repeated for any distance."""
    folded = index % (2 * size)
    return folded.minimum(2 * size - 1 - folded)


def wrapped(index: Tensor, size: int) -> Tensor:
    """Circular extension."""
    return index % size
