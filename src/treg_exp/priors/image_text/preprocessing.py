"""From images in [-1, 1] to what an image tower was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.signals.ranges import from_unit


class Preprocessing:
    """What a CLIP's image tower expects, differentiable, from images in [-1, 1].

    Args:
        size: height and width of its input in pixels.
        mean: of the channels of [0, 1] images, as every CLIP preprocessor states it.
        std: likewise.
        antialias: False resizes with aligned corners and without antialiasing, as the released code of TReg does.
    """

    def __init__(
        self, size: tuple[int, int], mean: Sequence[float], std: Sequence[float], antialias: bool = True
    ) -> None:
        self.size, self.antialias = size, antialias
        self.mean = from_unit(torch.tensor(mean)).view(1, 3, 1, 1)
        self.std = 2 * torch.tensor(std).view(1, 3, 1, 1)

    def to(self, device: torch.device) -> Preprocessing:
        """Move the statistics."""
        self.mean, self.std = self.mean.to(device), self.std.to(device)
        return self

    def __call__(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 3, *size), resized bicubically and normalised."""
        if tuple(x.shape[-2:]) != self.size:
            x = F.interpolate(x, self.size, mode="bicubic", antialias=self.antialias, align_corners=not self.antialias)
        return (x - self.mean) / self.std
