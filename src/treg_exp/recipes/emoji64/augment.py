"""Random changes of pictures on white: of place and size, and of what restorations do to pictures."""

from __future__ import annotations

import math
import re

import torch
import torch.nn.functional as F
from torch import Tensor

from treg_exp.recipes.emoji64.sources import Picture

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
    images: Tensor,
    generator: torch.Generator,
    *,
    shift: float,
    scale: tuple[float, float],
    flip: Tensor,
    turn: float = 0.0,
) -> Tensor:
    """Shift, scale, turn and half of the time mirror each picture; what comes in from outside is white.

    Args:
        images: (B, 3, H, W) in [-1, 1], white = 1.
        generator: CPU source of the draws.
        shift: largest shift in pixels, along each axis.
        scale: smallest and largest magnification.
        flip: (B,) bool, whether a picture may be mirrored.
        turn: largest angle in degrees, either way.

    Returns:
        (B, 3, H, W) in [-1, 1].
    """
    count, _, height, width = images.shape
    zoom = torch.empty(count).uniform_(*scale, generator=generator)
    move = torch.empty(count, 2).uniform_(-2.0 * shift, 2.0 * shift, generator=generator)
    mirrored = (torch.rand(count, generator=generator) < 0.5) & flip.cpu()
    angle = torch.zeros(count)
    if turn:
        angle.uniform_(-math.radians(turn), math.radians(turn), generator=generator)
    side = torch.where(mirrored, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = side * angle.cos() / zoom, -angle.sin() / zoom
    theta[:, 1, 0], theta[:, 1, 1] = side * angle.sin() / zoom, angle.cos() / zoom
    theta[:, :, 2] = move / torch.tensor([width, height])
    grid = F.affine_grid(theta, list(images.shape), align_corners=False).to(images.device)
    # grid_sample pads with zeros, so white has to be zero while it runs.
    moved = F.grid_sample(images - 1.0, grid, mode="bicubic", padding_mode="zeros", align_corners=False) + 1.0
    return moved.clamp(-1.0, 1.0)


def shrunk(images: Tensor, side: int) -> Tensor:
    """Pictures of fewer pixels, with which a training may start.

    Args:
        images: (B, 3, H, W).
        side: pixels per side afterwards.

    Returns:
        (B, 3, side, side).
    """
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def wear(images: Tensor, generator: torch.Generator, *, blur: float, light: float, noise: float, hole: int) -> Tensor:
    """Lose detail, change light and contrast, add noise and cut a white hole: what a restoration may do to a picture.

    Args:
        images: (B, 3, H, W) in [-1, 1], white = 1.
        generator: CPU source of the draws.
        blur: largest standard deviation in pixels of a Gaussian; half of the pictures stay sharp.
        light: largest share by which colours are stretched or squeezed around white.
        noise: largest standard deviation, in units of [-1, 1].
        hole: side of the white square in pixels; half of the pictures stay whole.

    Returns:
        (B, 3, H, W) in [-1, 1].
    """
    count, _, height, width = images.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(shape).uniform_(low, high, generator=generator).to(images.device)

    sigma = uniform(-blur, blur, count).clamp(min=1e-3)
    soft = _blurred(images, sigma) if blur else images
    worn = 1.0 - (1.0 - soft) * (1.0 + uniform(-light, light, count, 1, 1, 1))
    grain = torch.randn(images.shape, generator=generator).to(images.device)
    worn = worn + grain * uniform(-noise, noise, count, 1, 1, 1).clamp(min=0.0)
    corner = uniform(0.0, 1.0, count, 2) * torch.tensor([height - hole, width - hole], device=images.device)
    rows, columns = (torch.arange(n, device=images.device) for n in (height, width))
    down, across = rows - corner[:, :1], columns - corner[:, 1:]
    inside = ((down >= 0) & (down < hole))[:, :, None] & ((across >= 0) & (across < hole))[:, None, :]
    inside &= (uniform(0.0, 1.0, count) < 0.5)[:, None, None]
    return worn.masked_fill(inside[:, None], 1.0).clamp(-1.0, 1.0)


def _blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Each picture by a Gaussian of its own deviation, (B,) pixels, cut off at 4; outside is white."""
    count, channels, height, width = images.shape
    reach = torch.arange(-4.0, 5.0, device=images.device)
    kernel = torch.exp(-0.5 * (reach / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)[:, None, None]
    flat = F.pad(images, (4, 4, 4, 4), value=1.0).reshape(1, count * channels, height + 8, width + 8)
    flat = F.conv2d(F.conv2d(flat, kernel, groups=count * channels), kernel.mT, groups=count * channels)
    return flat.view_as(images)
