"""A picture that is fine is read, whatever its metadata say; size is limited by ours, not by Pillow's."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data_.picture_files import chunk, png, tiff
from treg_exp.data import decoding
from treg_exp.data.pictures import check_header, read_rgb
from treg_exp.errors import FileError

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3))
KINDS = range(15)  # of values of a tag, most of them wrong for it
ORIENTATION, RESOLUTION, DATE, EXIF, GPS, PROFILE = 274, 282, 306, 0x8769, 0x8825, 34675


def directory(tag: int, kind: int, count: int, value: bytes) -> bytes:
    """EXIF of one tag."""
    return b"II*\0" + struct.pack("<IHHHI", 8, 1, tag, kind, count) + value + bytes(4)


def saved(suffix: str, exif: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS.astype(np.uint8)).save(buffer, suffix, quality=100, lossless=True, exif=exif)
    return buffer.getvalue()


WRITERS: dict[str, Callable[[bytes], bytes]] = {
    "png": lambda exif: png(PIXELS, 8, 2, more=chunk(b"eXIf", exif)),
    "jpeg": lambda exif: saved("JPEG", b"Exif\0\0" + exif),
    "webp": lambda exif: saved("WEBP", exif),
}


def read(folder: Path, content: bytes, suffix: str) -> np.ndarray:
    file = folder / f"a.{suffix}"
    file.write_bytes(content)
    assert check_header(file) is None
    return np.asarray(read_rgb(file))


@pytest.mark.parametrize("suffix", WRITERS)
def test_broken_exif_turns_nothing(tmp_path: Path, suffix: str) -> None:
    plain = read(tmp_path, WRITERS[suffix](b""), suffix)
    broken = [b"garbage", b"II*\0", b"II*\0\xff\xff\xff\x7f"]
    broken += [
        directory(tag, kind, count, b"\xff" * 4)
        for tag in (ORIENTATION, RESOLUTION, DATE, EXIF, GPS) for kind in KINDS for count in (0, 1, 10**6)
    ]  # fmt: skip
    for exif in broken:
        assert np.array_equal(read(tmp_path, WRITERS[suffix](exif), suffix), plain), exif


def test_broken_tags_of_a_tiff_turn_nothing(tmp_path: Path) -> None:
    for tag in (ORIENTATION, RESOLUTION, DATE, EXIF, GPS, PROFILE, 65000):
        for kind in KINDS:
            for count in (0, 1, 10**6):
                content = tiff(PIXELS, 8, 2, more=[(tag, kind, count, b"\xff" * 4)], deflated=bool(kind % 2))
                assert np.array_equal(read(tmp_path, content, "tif"), PIXELS), (tag, kind, count)


LONG = zlib.compress(b"a" * 2**21)


@pytest.mark.parametrize(
    "more",
    [
        chunk(b"zTXt", b"key\0\0" + LONG),
        chunk(b"iTXt", b"key\0\1\0\0\0" + LONG),
        chunk(b"iCCP", b"key\0\0" + LONG),
        chunk(b"tEXt", b"key\0" + b"a" * 10**6) * 70,
        chunk(b"tEXt", b"key\0value")[:-1] + b"x",  # a wrong checksum
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"none")),
        chunk(b"gAMA", b"") + chunk(b"pHYs", b"") + chunk(b"sRGB", b"") + chunk(b"cHRM", b"") + chunk(b"tEXt", b""),
    ],
    ids=["text", "unicode", "profile", "much", "checksum", "orientation", "empty"],
)
def test_long_and_broken_chunks_are_left_out(tmp_path: Path, more: bytes) -> None:
    assert np.array_equal(read(tmp_path, png(PIXELS, 8, 2, more=more), "png"), PIXELS)


TURNED = directory(ORIENTATION, 3, 1, b"\3\0\0\0")


@pytest.mark.parametrize(
    "more",
    [
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"<tiff:Orientation>3</tiff:Orientation>"),
        chunk(
            b"tEXt", b"Raw profile type exif\0\nexif\n26\n" + directory(ORIENTATION, 3, 1, b"\3\0\0\0").hex().encode()
        ),
    ],
    ids=["xmp", "exif"],
)
def test_an_orientation_in_a_text_counts(tmp_path: Path, more: bytes) -> None:
    assert np.array_equal(read(tmp_path, png(PIXELS, 8, 2, more=more), "png"), PIXELS[::-1, ::-1])


def test_the_limit_of_pixels_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = png(PIXELS, 8, 2)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3)
    assert np.array_equal(read(tmp_path, content, "png"), PIXELS)
    assert Image.MAX_IMAGE_PIXELS == 3
    monkeypatch.setattr(decoding, "LARGEST", 20)
    assert check_header(tmp_path / "a.png") == "it has 24 pixels, at most 20 are read; shrink it"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.tif", tiff(PIXELS, 8, 2, signed=True), "no picture that can be read"),
        (
            "a.tif",
            tiff(PIXELS[..., :1], 8, 1, signed=True),
            "signed pixels have no defined white",
        ),
        ("a.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is a HEIC or AVIF file; convert it to PNG or JPEG"),
        ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n", "it is no picture that can be read: broken, or of an unknown kind"),
        ("a.png", b"<html>", "it is no picture that can be read: broken, or of an unknown kind; convert it to PNG"),
        ("a.tif", b"II*\0", "it is no picture that can be read"),
        ("a.png", b"", "it is no picture that can be read"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_reason(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=reason):
        read_rgb(tmp_path / name)
    assert check_header(tmp_path / name) is not None
