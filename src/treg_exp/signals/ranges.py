"""The single place that converts image ranges: [-1, 1] (everything inside) <-> [0, 1] <-> uint8.

No function here rescales by the content of an image: a grey image stays grey, whatever its extremes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from treg_exp.errors import FieldError

TOLERANCE = 1e-4  # what arithmetic may leave [-1, 1] by, far below a step of 8 bits (0.008)


def check_range(x: Tensor, name: str) -> Tensor:
    """The signals as they are, if all are numbers in [-1, 1].

    Whoever judges calls this: a picture in [0, 255] that is clamped, or one in [0, 1] that is taken for [-1, 1], has
    plausible numbers. What a solver leaves outside is clamped once, where a batch comes out of it.

    Args:
        x: any shape.
        name: of the argument, for the message.

    Raises:
        FieldError: values that are no numbers, or lie outside by more than ``TOLERANCE``.
    """
    if not x.numel():
        return x
    low, high = (float(value) for value in torch.aminmax(x.detach()))
    if not (low >= -1 - TOLERANCE and high <= 1 + TOLERANCE):  # nan compares as false
        told = "holds values that are not finite" if not x.isfinite().all() else f"goes from {low:.4g} to {high:.4g}"
        raise FieldError(name, told, "metrics take signals in [-1, 1]")
    return x


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
