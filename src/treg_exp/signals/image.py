"""Images: (3, H, W) RGB or (1, H, W) grey, kept as PNG with 8 bits per channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from treg_exp.files import write_bytes
from treg_exp.signals.base import DEVIATION_SCALE, Medium, png
from treg_exp.signals.ranges import from_uint8, to_uint8

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageMedium(Medium):
    """Pixels; values are rounded to 256 levels, and those outside [-1, 1] are clamped."""

    name: ClassVar[str] = "image"
    noun: ClassVar[str] = "image"
    suffix: ClassVar[str] = ".png"
    axes: ClassVar[int] = 3
    deviation_note: ClassVar[str] = f"white: {DEVIATION_SCALE:g} or more"

    def holds(self, shape: Sequence[int]) -> bool:
        """See ``Medium``."""
        return len(shape) == 3 and shape[0] in (1, 3)

    def encode(self, signal: Tensor) -> bytes:
        """See ``Medium``."""
        return png(to_image(signal))

    def decode(self, file: Path) -> Tensor:
        """See ``Medium``."""
        import numpy as np
        from PIL import Image

        with Image.open(file) as stored:
            pixels = torch.from_numpy(np.array(stored if stored.mode == "L" else stored.convert("RGB")))
        return from_uint8(pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1))

    def picture(self, signal: Tensor) -> Image:
        """The image itself; several sources stand side by side."""
        return to_image(torch.cat(list(signal), dim=-1) if self.stacked(signal.shape) else signal)

    def deviation_picture(self, deviation: Tensor) -> Image:
        """Grey; the root mean square over the channels."""
        grey = deviation.square().mean(dim=0, keepdim=True).sqrt()
        return to_image(grey / DEVIATION_SCALE * 2 - 1)


def to_image(x: Tensor) -> Image:
    """(3, H, W) or (1, H, W) in [-1, 1] as 8-bit RGB or grey; values outside are clamped, nothing is rescaled.

    Raises:
        ValueError: the tensor does not have the shape of an image.
    """
    from PIL import Image

    if x.ndim != 3 or x.shape[0] not in (1, 3):
        raise ValueError(f"an image needs a (3, H, W) or (1, H, W) tensor, got {tuple(x.shape)}")
    pixels = to_uint8(x.detach().float()).cpu().permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(pixels[:, :, 0] if x.shape[0] == 1 else pixels)


def save_png(x: Tensor, path: str | Path) -> Path:
    """Save one image as an 8-bit PNG, see `to_image`; a reader sees the old file or the new one.

    Returns:
        The path.
    """
    return write_bytes(path, png(to_image(x)))
