"""How networks are told the time of a level."""

from __future__ import annotations

import torch
from torch import Tensor

from treg_exp.schedule.levels import Number


def timesteps(t: Number, like: Tensor) -> Tensor:
    """``t`` as (B,) float32, one for each of the B rows of ``like``: some networks cut a bare number to an integer.

    Args:
        t: a number, or a tensor of 1 or B of them, such as (B, 1, 1, 1).
        like: (B, ...) on the device of the network.
    """
    if isinstance(t, Tensor):
        return t.to(like.device, torch.float32).flatten().expand(len(like))
    return torch.full((len(like),), float(t), device=like.device)
