"""Mild geometric changes of pictures on white."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor

from treg_exp.training.sources import Picture

_DIRECTED_WORDS = re.compile(
    r"\b(left|right|facing|pointing|arrow|arrows|button|letter|keycap|clock|sign|symbol|mark|input|card|calendar|"
    r"waxing|waning|quarter|crescent|suit|banknote|musical|chart|trend|forward|reverse|speaker|points|abacus)\b"
)
_DIRECTED_CATEGORIES = frozenset({"flags", "symbols"})


def may_flip(picture: Picture) -> bool:
    """Whether the mirrored picture still shows what the name says.

    Args:
        picture: whose name and category decide.
    """
    directed = picture.category in _DIRECTED_CATEGORIES or _DIRECTED_WORDS.search(picture.name)
    return not directed


def jitter(
    images: Tensor, generator: torch.Generator, *, shift: float, scale: tuple[float, float], flip: Tensor
) -> Tensor:
    """Shift, scale and half of the time mirror each picture; what comes in from outside is white.

    Args:
        images: (B, 3, H, W) in [-1, 1], white = 1.
        generator: CPU source of the draws.
        shift: largest shift in pixels, along each axis.
        scale: smallest and largest magnification.
        flip: (B,) bool, whether a picture may be mirrored.

    Returns:
        (B, 3, H, W) in [-1, 1].
    """
    count, _, height, width = images.shape
    zoom = torch.empty(count).uniform_(*scale, generator=generator)
    move = torch.empty(count, 2).uniform_(-2.0 * shift, 2.0 * shift, generator=generator)
    mirrored = (torch.rand(count, generator=generator) < 0.5) & flip.cpu()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = torch.where(mirrored, -1.0, 1.0) / zoom
    theta[:, 1, 1] = 1.0 / zoom
    theta[:, :, 2] = move / torch.tensor([width, height])
    grid = F.affine_grid(theta, list(images.shape), align_corners=False).to(images.device)
    # grid_sample pads with zeros, so white has to be zero while it runs.
    moved = F.grid_sample(images - 1.0, grid, mode="bicubic", padding_mode="zeros", align_corners=False) + 1.0
    return moved.clamp(-1.0, 1.0)
