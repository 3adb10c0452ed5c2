"""Channels one after the other: a Fourier transform takes several times the memory of what it transforms."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def by_channel(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function`` of every channel (..., 1, H, W) of (..., C, H, W), put together along the same axis."""
    return torch.cat([function(channel) for channel in torch.split(x, 1, dim=-3)], dim=-3)
