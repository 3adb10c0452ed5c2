"""The single place that converts image ranges: [-1, 1] (everything inside) <-> [0, 1] <-> uint8.

No function here rescales by the content of an image: a grey image stays grey, whatever its extremes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_unit(x: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], clamped."""
    return ((x + 1) / 2).clamp(0, 1)


def from_unit(x: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1], not clamped."""
    return x * 2 - 1


def to_uint8(x: Tensor) -> Tensor:
    """[-1, 1] -> uint8 in 0..255, rounded to nearest."""
    return (to_unit(x) * 255).round().to(torch.uint8)


def from_uint8(x: Tensor) -> Tensor:
    """uint8 in 0..255 -> float32 in [-1, 1]."""
    return from_unit(x.to(torch.float32) / 255)
