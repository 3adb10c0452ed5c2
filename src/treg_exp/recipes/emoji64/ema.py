"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


@torch.no_grad()
def averaged_copy(network: nn.Module) -> nn.Module:
    """Make the frozen copy that will hold the average.

    Args:
        network: the network that is trained.

    Returns:
        A copy in evaluation mode whose parameters want no gradient.
    """
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, step: int, decay: float) -> None:
    """Move the average towards the network in place.

    Args:
        average: what `averaged_copy` made.
        network: the network after an optimiser step.
        step: steps taken so far; a young average follows faster, so that it is usable early.
        decay: factor kept per step once the average is old.
    """
    kept = min(decay, (1.0 + step) / (10.0 + step))
    pairs = list(zip(average.parameters(), network.parameters(), strict=True))
    torch._foreach_lerp_([a for a, _ in pairs], [p.detach() for _, p in pairs], 1.0 - kept)
    for kept_buffer, buffer in zip(average.buffers(), network.buffers(), strict=True):
        kept_buffer.copy_(buffer)
