"""How much noise a picture has that a denoiser has left in it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_MASK = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))  # blind to planes and to straight edges along the axes
_GAIN = 6.0  # root of the sum of its squares
_MAD = 0.6745  # median of the magnitude of a standard normal number


def grain(images: Tensor) -> Tensor:
    """(B,) standard deviations of white noise on the pictures, as far as a median over pixels tells it from drawing.

    The mask is that of Immerkaer (1996); the median instead of his mean is the estimate of Donoho and Johnstone (1994),
    which lines and corners hardly change while they are few. Flat areas have none.

    Args:
        images: (B, C, H, W) in [-1, 1].
    """
    mask = torch.tensor(_MASK, dtype=images.dtype, device=images.device).view(1, 1, 3, 3)
    found = F.conv2d(images.flatten(0, 1).unsqueeze(1), mask).view(len(images), -1)
    return found.abs().median(dim=1).values / (_GAIN * _MAD)
