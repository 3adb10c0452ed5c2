"""A picture file -> 8-bit RGB or RGBA, upright.

Most of it is Pillow's. Read here, from the samples as they are stored, is what Pillow loses without a word: the low
bytes of several channels of 16 bits, a PNG's transparent value of other than 8 bits, the white of TIFFs of 12 or 16
bits. Metadata decide nothing but the orientation: no picture is refused because of them.
"""

from __future__ import annotations

import io
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from treg_exp.data.stripped import picture_alone
from treg_exp.errors import FileError

#: Only these decoders run: Pillow's others read kinds that a file's name does not promise, one by another program.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF")
LARGEST = 500_000_000  # pixels; Pillow's own limit of 179 refuses the cameras of telephones
HEIF = re.compile(rb"ftyp(?:hei|hev|mif1|msf1|avi)")
CONVERT = "convert it to PNG or JPEG"
TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


Stored = Path | bytes  # a file, or the content of one that stands within another


def stream(stored: Stored) -> BinaryIO:
    """To read it."""
    return stored.open("rb") if isinstance(stored, Path) else io.BytesIO(stored)


@contextmanager
def opened(stored: Stored) -> Iterator[ImageFile.ImageFile]:
    """The open picture, of which only the header is read yet.

    Raises:
        FileError: it is no picture of a kind in ``FORMATS``, its pixels have no defined range, or they are too many.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings(), stream(stored) as file:
            warnings.simplefilter("ignore")  # of Pillow, about metadata
            with closing(picture_alone(file)) as content, Image.open(content, formats=FORMATS) as image:
                _refuse(image)
                _repair_planes(image)
                yield image
    except UnidentifiedImageError:
        with stream(stored) as file:
            heif = HEIF.search(file.read(32))
        what = "a HEIC or AVIF file" if heif else "no picture that can be read: broken, or of an unknown kind"
        raise FileError(f"it is {what}; {CONVERT}") from None
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def decode(stored: Stored) -> Image.Image:
    """The picture at its own size, mode RGB, or RGBA where it has transparency; of several frames the first.

    Raises:
        Exception: nearly any, as Pillow does.
    """
    with opened(stored) as image:
        depth, raw = _depth(image), _raw_mode(image)
        joined = ";16" in raw and image.mode in ("RGB", "RGBA") and "a" not in raw  # a: multiplied with alpha
        image.load()
        value = image.info.get("transparency") if image.format == "PNG" and image.mode != "P" else None
        if joined:
            picture = _picture(_joined(image, stored, raw), depth, value)
        elif image.mode.startswith("I"):
            picture = _picture(_white_is_largest(image, depth), depth, value)
        elif value is not None:
            picture = _picture(np.asarray(image.convert("L") if image.mode == "1" else image), depth, value)
        else:
            straight = image.convert("LA") if image.mode == "La" else image
            picture = straight.convert("RGBA" if straight.has_transparency_data else "RGB")
        return _upright(picture, image)


def _refuse(image: Image.Image) -> None:
    """Raise FileError for what has no defined white, or is too large to be meant."""
    # Old files of 16 bit may open as mode "I"; only PNG guarantees that their white is 65535.
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise FileError("32-bit pixels have no defined white; save it with 8 or 16 bits per channel")
    if image.format == "TIFF" and 2 in _tags(image, TiffImagePlugin.SAMPLEFORMAT):
        raise FileError("signed pixels have no defined white; save it with 8 or 16 bits per channel")
    if (pixels := image.width * image.height) > LARGEST:
        raise FileError(f"it has {pixels} pixels, at most {LARGEST} are read; shrink it")


def _repair_planes(image: Any) -> None:
    """Pillow reads the uncompressed planes of a TIFF of 16 bits as if they had 8."""
    if image.format == "TIFF" and _depth(image) == 16 and image.mode in ("RGB", "RGBA", "CMYK"):
        order = "L" if image.tag_v2.prefix == b"II" else "B"
        for i, tile in enumerate(image.tile):
            if ";16" not in tile.args[0]:
                image.tile[i] = tile._replace(args=(f"{tile.args[0]};16{order}", *tile.args[1:]))


def _tags(image: Any, tag: int) -> tuple[int, ...]:
    """Values of a TIFF's tag, nothing where it has none."""
    found = image.tag_v2.get(tag, ())
    return found if isinstance(found, tuple) else (found,)


def _raw_mode(image: Any) -> str:
    """How Pillow calls the arrangement of the stored samples, such as ``RGB;16B``."""
    args = image.tile[0][3] if image.tile else ""
    return str(args[0] if isinstance(args, tuple) else args)


def _depth(image: Any) -> int:
    """Bits per stored sample of a grey or RGB picture in a PNG or TIFF; 8 of others."""
    if image.format == "TIFF":
        return _tags(image, TiffImagePlugin.BITSPERSAMPLE)[0] if _tags(image, TiffImagePlugin.BITSPERSAMPLE) else 1
    raw = _raw_mode(image)
    return int("".join(filter(str.isdigit, raw.partition(";")[2])) or 8) if raw != "1" else 1


def _joined(image: Image.Image, stored: Stored, raw: str) -> np.ndarray:
    """(H, W, C) of 16 bits: Pillow keeps the high bytes; asked for the other byte order, it keeps the low ones."""
    with opened(stored) as low:
        if raw == "LA;16B":  # four bytes a pixel, too
            low.tile = [tile._replace(args="RGBA") for tile in low.tile]
            grey_high, grey_low, alpha_high, alpha_low = np.moveaxis(np.asarray(low).astype(np.uint16), -1, 0)
            grey, alpha = grey_high * 256 + grey_low, alpha_high * 256 + alpha_low
            return np.stack([grey, grey, grey, alpha], axis=-1)
        low.tile = [tile._replace(args=_other_order(tile.args)) for tile in low.tile]
        whole: np.ndarray = np.asarray(image).astype(np.uint16) * 256 + np.asarray(low)
        return whole


def _other_order(args: Any) -> Any:
    """Arguments of a decoder with the other byte order."""
    if isinstance(args, tuple):
        return (_other_order(args[0]), *args[1:])
    native = "L" if sys.byteorder == "little" else "B"
    return re.sub(";16.", lambda found: ";16B" if found[0][-1].replace("N", native) == "L" else ";16L", args)


def _white_is_largest(image: Image.Image, depth: int) -> np.ndarray:
    """Grey (H, W) samples of more than 8 bits; Pillow turns round only those of fewer, where 0 is white."""
    values = np.asarray(image).astype(np.uint16)
    white_is_zero = image.format == "TIFF" and _tags(image, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == (0,)
    return (2**depth - 1 - values).astype(np.uint16) if white_is_zero else values


def _picture(values: np.ndarray, depth: int, transparent: Any) -> Image.Image:
    """(H, W) or (H, W, C) samples of ``depth`` bits as RGB, or as RGBA where one value is transparent.

    Those of fewer than 8 bits are spread over 0..255 already; the transparent value has the bits of a stored sample.
    """
    if depth > 8:
        levels = np.rint(np.arange(2**depth) * (255 / (2**depth - 1))).astype(np.uint8)
        picture = Image.fromarray(levels[values])
    else:
        picture = Image.fromarray(values)
    if transparent is None or picture.mode == "RGBA":
        return picture if picture.mode == "RGBA" else picture.convert("RGB")
    # Pillow spreads the value of 1 bit itself.
    value = np.asarray(transparent) & (2**depth - 1) if depth > 1 else np.asarray(transparent)
    value = value * (255 // (2**depth - 1)) if 1 < depth < 8 else value
    differs = values != value
    picture = picture.convert("RGB")
    picture.putalpha(Image.fromarray((differs.any(axis=-1) if values.ndim == 3 else differs) * np.uint8(255)))
    return picture


def _upright(picture: Image.Image, stored: Image.Image) -> Image.Image:
    """Turned as the metadata say; those that cannot be read say nothing. Of a TIFF, Pillow has done it."""
    try:
        turn = TURNS.get(stored.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        turn = None
    return picture if turn is None else picture.transpose(turn)
