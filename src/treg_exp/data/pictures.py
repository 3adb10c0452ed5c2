"""Image files of any common kind -> RGB pictures -> (3, H, W) tensors in [-1, 1].

The order is fixed: 16 bit to 8 bit, RGB, EXIF rotation, transparency onto a background, then size. Colours
are taken as stored: embedded ICC profiles are not applied, CMYK is converted by Pillow's plain formula.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

from treg_exp.data.decoding import Stored, decode, opened
from treg_exp.errors import FieldError, FileError
from treg_exp.signals.ranges import from_uint8

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff")
Fit = Literal["crop", "pad", "stretch"]


def check_fit(fit: str) -> None:
    """Raise FieldError, naming the choices, for an unknown way to make an image square."""
    if fit not in get_args(Fit):
        raise FieldError("fit", fit, f"unknown; choose one of: {', '.join(get_args(Fit))}")


def check_size(size: int) -> None:
    """Raise FieldError for a side that no image can have."""
    if size < 1:
        raise FieldError("image_size", size, "must be at least 1 pixel")


def check_colour(colour: str) -> None:
    """Raise FieldError for a background that is no colour, or that is transparent itself."""
    try:
        opaque_colour = len(ImageColor.getrgb(colour)) == 3
    except ValueError:
        opaque_colour = False
    if not opaque_colour:
        raise FieldError("background", colour, "is no colour; use a name such as white, or #rrggbb")


def check_header(stored: Stored) -> str | None:
    """Why the file cannot be used as an image, or None; reads the header and checksums, not the pixels."""
    try:
        with opened(stored) as image:
            image.verify()
    except Exception as error:  # Pillow raises nearly any type for a broken file
        return str(error) or type(error).__name__
    return None


def read_rgb(stored: Stored, background: str | None = "white", name: str = "") -> Image.Image:
    """The picture as 8-bit RGB, upright, at its own size.

    Args:
        stored: file of a kind in :data:`EXTENSIONS`, or its content; of several frames or pages the first is read.
        background: colour under transparent pixels; None refuses transparency.
        name: of what is no file, for messages.

    Raises:
        FileError: the file cannot be decoded, or is of a kind that has no defined range.
    """
    try:
        return opaque(decode(stored), background)
    except Exception as error:
        raise FileError(f"cannot read the image {name or stored!s}: {error}. Re-export it, or take it out.") from error


def opaque(image: Image.Image, background: str | None) -> Image.Image:
    """RGB or RGBA as RGB, transparent pixels laid over ``background``; None refuses any that are not fully opaque."""
    if image.mode == "RGB":
        return image
    if background is not None:
        return Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")
    if np.asarray(image)[..., 3].min() < 255:
        raise FileError("it has transparent pixels, which have no value as a measurement")
    return image.convert("RGB")


def resize(image: Image.Image, size: int, fit: Fit = "crop", background: str = "white") -> Image.Image:
    """A square RGB picture of ``size`` pixels by antialiased Lanczos resampling.

    Args:
        image: RGB picture. One that already has the wanted size is not resampled.
        size: side of the result in pixels.
        fit: ``crop`` keeps the centre square, ``pad`` keeps everything and fills up with ``background``,
            ``stretch`` ignores the aspect ratio.
        background: fill colour of ``pad``.
    """
    lanczos = Image.Resampling.LANCZOS
    width, height = image.size
    if fit == "stretch":
        return image.resize((size, size), lanczos)
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        centre = np.asarray(image)[top : top + side, left : left + side]  # not crop: that has a limit of pixels
        return Image.fromarray(centre).resize((size, size), lanczos)
    scale = size / max(width, height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = Image.new("RGB", (size, size), background)
    canvas.paste(image.resize(inner, lanczos), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return canvas


def to_tensor(image: Image.Image) -> Tensor:
    """RGB -> (3, H, W), grey ("L") -> (1, H, W); float32 in [-1, 1]."""
    pixels = torch.from_numpy(np.array(image))
    return from_uint8(pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)).contiguous()
