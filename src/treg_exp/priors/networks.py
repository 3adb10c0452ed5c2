"""A frozen network of diffusers, stored and called in a number format."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from treg_exp.priors.precision import Precision, autocast, autocast_dtype


class FrozenNetwork:
    """A network that takes no gradients of its weights; a plain class, so that no Lightning module copies or saves it.

    Args:
        module: of diffusers.
        precision: what it computes in, see ``precision.py``.
        device: where it lives.
        stored_in_half: store the weights in the format that they compute in, too: half the memory.

    Attributes:
        half: the format below float32 that it computes in, or None.
        layout: memory format of its inputs.
    """

    def __init__(self, module: Any, precision: Precision, device: torch.device, stored_in_half: bool = False) -> None:
        self.module = module.eval().requires_grad_(False)
        self.device, self.stored_in_half = device, stored_in_half
        self.precision: Precision = precision
        self.arrange(precision)

    @property
    def config(self) -> Any:
        """Configuration of the network."""
        return self.module.config

    @property
    def dtype(self) -> torch.dtype:
        """Format of the stored weights."""
        dtype: torch.dtype = self.module.dtype
        return dtype

    def arrange(self, precision: Precision) -> None:
        """Store and lay out the network for a number format."""
        self.precision, self.half = precision, autocast_dtype(precision, self.device)
        # Half precision is faster with the channels last; float32 is ten times more exact without (GroupNorm).
        self.layout = torch.contiguous_format if self.half is None else torch.channels_last
        stored = self.half if self.stored_in_half and self.half else torch.float32
        nn.Module.to(self.module, self.device, stored)  # diffusers' own `to` warns of every change of format
        nn.Module.to(self.module, memory_format=self.layout)

    def prepared(self, x: Tensor) -> Tensor:
        """``x`` in the memory format that the network is fast in."""
        return x.contiguous(memory_format=self.layout) if x.dim() == 4 else x.contiguous()

    def running(self) -> Any:
        """Context in which the network is called."""
        return autocast(self.precision, self.device)
