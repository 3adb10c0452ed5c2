"""The discrete cosine transform as a matrix."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=16)
def cosine_transform(size: int) -> Tensor:
    """(size, size) orthonormal matrix of the discrete cosine transform of type II."""
    n = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi / size * (n + 0.5)[None] * n[:, None]) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix.float()
