"""All pairs of vectors within a distance, exactly, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

MOST_PAIRS = 2_000_000  # that a search may go through; more means that the distance tells nothing apart
#: Relative error allowed for in squared distances: float32 storage has 2^-24 per number, products are in float64.
ROUNDING = 1e-6


class TooManyPairsError(ValueError):
    """The distance tells too little apart."""


def sketch(values: Tensor, size: int) -> Tensor:
    """Vectors of at most ``size`` numbers whose distances are never larger than those of the originals.

    Neighbouring numbers are summed and divided by the square root of their count, which is a projection: by
    Cauchy-Schwarz (sum d)^2 / g <= sum d^2. So whatever is too far apart in the sketch is too far apart.

    Args:
        values: (B, N).
        size: most numbers.

    Returns:
        (B, M) float32, M <= size; ``values`` itself where N <= size.
    """
    count = values.shape[1]
    if count <= size:
        return values.to(torch.float32)
    together = -(-count // size)
    padded = torch.nn.functional.pad(values.double(), (0, -count % together))
    sums: Tensor = padded.reshape(len(values), -1, together).sum(-1)
    return (sums / math.sqrt(together)).to(torch.float32)


def near_pairs(vectors: Tensor, distance: float, codes: Tensor | None = None, block: int = 1024) -> Iterator[Tensor]:
    """Pairs i < j whose Euclidean distance may be at most ``distance``: none is missed, some are a little farther.

    Args:
        vectors: (N, M) float32.
        distance: largest distance.
        codes: (N, 2) int64 or None: a pair must agree in the first and differ in the second.
        block: vectors per side of a matrix product; memory is about 8 block (block + 2 M) bytes.

    Yields:
        (P, 2) int64, block by block.

    Raises:
        TooManyPairsError: there are more pairs than `MOST_PAIRS`.
    """
    squares, found = vectors.double().square().sum(1), 0
    for top in range(0, len(vectors), block):
        rows = vectors[top : top + block].double()
        for left in range(top, len(vectors), block):
            columns = vectors[left : left + block].double()
            sums = squares[top : top + block, None] + squares[None, left : left + block]
            near = sums - 2 * rows @ columns.T <= distance**2 + ROUNDING * sums
            if codes is not None:
                own, other = codes[top : top + block, None], codes[None, left : left + block]
                near &= (own[..., 0] == other[..., 0]) & (own[..., 1] != other[..., 1])
            if left == top:
                near = near.triu(diagonal=1)
            pairs = near.nonzero() + torch.tensor([top, left])
            found += len(pairs)
            if found > MOST_PAIRS:
                raise TooManyPairsError(f"leaves over {MOST_PAIRS} pairs; take a smaller one")
            if len(pairs):
                yield pairs
