"""Channels one after the other: a Fourier transform takes several times the memory of what it transforms."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Pixels of a channel up to which all are taken at once: there memory is no matter, and one call is faster than three.
SMALL = 64 * 64


def by_channel(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``function`` of every channel (..., 1, H, W) of tensors (..., C, H, W), put together along the same axis.

    It must treat the channels alike and take several at once, too.
    """
    if tensors[0].shape[-3] == 1 or all(x.shape[-2] * x.shape[-1] <= SMALL for x in tensors):
        return function(*tensors)
    channels = zip(*(torch.split(x, 1, dim=-3) for x in tensors), strict=True)
    first = function(*next(channels))
    together = first.new_empty(*first.shape[:-3], tensors[0].shape[-3], *first.shape[-2:])
    together[..., :1, :, :] = first
    del first  # one channel less while the others are computed
    for place, channel in enumerate(channels, start=1):
        together[..., place : place + 1, :, :] = function(*channel)
    return together
