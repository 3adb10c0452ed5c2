"""Users' images: which files, under which ids, and exactly which pixels."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from treg_exp.data.base import subset
from treg_exp.data.folder import ImageFolder
from treg_exp.errors import FieldError, FileError


def save(path: Path, values: object, mode: str | None = None, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def flat(colour: tuple[int, ...], size: tuple[int, int] = (8, 8)) -> np.ndarray:
    """An (h, w, channels) picture of one colour; ``size`` is (width, height)."""
    return np.broadcast_to(np.array(colour, np.uint8), (size[1], size[0], len(colour))).copy()


def read(path: Path, size: int = 8, **options: object) -> Tensor:
    """The only image below a folder, as values 0..255."""
    target = ImageFolder(path, size, **options)[0].target  # type: ignore[arg-type]
    assert target is not None
    assert target.shape == (3, size, size)
    return (target + 1) * 127.5


def close(image: Tensor, colour: tuple[float, ...], tolerance: float = 0.01) -> None:
    expected = torch.tensor(colour, dtype=torch.float32).reshape(3, 1, 1).expand_as(image)
    torch.testing.assert_close(image, expected, atol=tolerance, rtol=0)


def test_sorted_recursive_listing_skips_hidden_and_foreign_files(tmp_path: Path) -> None:
    for name in (
        "b.PNG",
        "a 1.jpg",
        "cats/grey tabby.webp",
        "cats/x.bmp",
        "z.tiff",
        ".hidden.png",
        ".git/y.png",
    ):
        save(tmp_path / name, flat((1, 2, 3)), format={"PNG": "PNG"}.get(name[-3:]))
    (tmp_path / "notes.txt").write_text("no image")
    data = ImageFolder(tmp_path, 8)
    assert data.ids == ["a_1", "b", "cats__grey_tabby", "cats__x", "z"]
    assert [data[i].sample_id for i in range(len(data))] == data.ids
    assert data.captions(0) == {}


def test_two_files_with_one_id_are_both_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png", flat((0, 0, 0)))
    save(tmp_path / "a.jpg", flat((0, 0, 0)))
    with pytest.raises(FileError, match=r"a\.jpg and a\.png would both be sample 'a'; rename one"):
        ImageFolder(tmp_path, 8)


def test_rgb_of_the_right_size_is_exact(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    save(tmp_path / "a.png", pixels)
    assert torch.equal(read(tmp_path).round(), torch.from_numpy(pixels).permute(2, 0, 1).float())


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    stored = flat((0, 0, 0))
    stored[:, :4] = 255  # left half white
    exif = Image.Exif()
    exif[274] = 6  # "rotate by 90 degrees clockwise to show"
    save(tmp_path / "a.png", stored, exif=exif)
    image = read(tmp_path)
    close(image[:, :4], (255, 255, 255))
    close(image[:, 4:], (0, 0, 0))


@pytest.mark.parametrize(("background", "expected"), [("white", (255, 127, 127)), ("black", (128, 0, 0))])
def test_transparency_lies_on_the_background(tmp_path: Path, background: str, expected: tuple[float, ...]) -> None:
    save(tmp_path / "a.png", flat((255, 0, 0, 128)))
    close(read(tmp_path, background=background), expected, tolerance=1.01)


def test_grey_palette_bilevel_and_cmyk_become_rgb(tmp_path: Path) -> None:
    save(tmp_path / "grey" / "a.png", np.full((8, 8), 77, np.uint8))
    close(read(tmp_path / "grey"), (77, 77, 77))
    save(tmp_path / "palette" / "a.png", flat((204, 51, 0)), "P")  # a colour of the web palette
    close(read(tmp_path / "palette"), (204, 51, 0))
    save(tmp_path / "bilevel" / "a.png", np.full((8, 8), 255, np.uint8), "1")
    close(read(tmp_path / "bilevel"), (255, 255, 255))
    save(tmp_path / "cmyk" / "a.tif", flat((10, 100, 200)), "CMYK")
    close(read(tmp_path / "cmyk"), (10, 100, 200), tolerance=1.01)


def test_transparent_palette_entry(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((8, 8), np.uint8)).convert("P")
    image.save(tmp_path / "a.png", transparency=0)
    close(read(tmp_path), (255, 255, 255))


def test_16_bit_grey_is_divided_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    for kind in ("png", "tif"):
        save(tmp_path / kind / f"a.{kind}", ramp)
        image = read(tmp_path / kind)
        torch.testing.assert_close(image[0], torch.from_numpy(ramp.astype(np.float32)) / 257, atol=0.51, rtol=0)


def test_16_bit_rgb_keeps_its_colour(tmp_path: Path) -> None:
    row = b"\0" + struct.pack(">3H", 60000, 30000, 300) * 8

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">2I5B", 8, 8, 16, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(row * 8)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)
    close(read(tmp_path), (60000 / 257, 30000 / 257, 300 / 257), tolerance=1.01)


def test_float_pixels_are_refused_with_a_remedy(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", np.zeros((8, 8), np.float32))
    with pytest.raises(FileError, match=r"a\.tif \(32-bit pixels.*save it with 8 or 16 bits"):
        subset(ImageFolder(tmp_path, 8))


def test_three_ways_to_make_a_wide_image_square(tmp_path: Path) -> None:
    wide = flat((0, 0, 0), (32, 16))
    wide[:, :8] = (255, 0, 0)
    wide[:, 24:] = (0, 0, 255)
    save(tmp_path / "a.png", wide)
    close(read(tmp_path, fit="crop"), (0, 0, 0))
    padded = read(tmp_path, fit="pad", background="#00ff00")
    close(padded[:, :2], (0, 255, 0))
    close(padded[:, 6:], (0, 255, 0))
    close(padded[:, 2:6, :1], (255, 0, 0), tolerance=12)
    stretched = read(tmp_path, fit="stretch")
    close(stretched[:, :, :1], (255, 0, 0), tolerance=12)
    close(stretched[:, :, 7:], (0, 0, 255), tolerance=12)


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255  # the finest stripes: without a filter they alias to black or white
    save(tmp_path / "a.png", stripes)
    close(read(tmp_path)[:, 2:6, 2:6], (127.5, 127.5, 127.5), tolerance=3)


def test_missing_empty_and_broken_folders_are_explained(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"^path=.*nowhere: does not exist$"):
        ImageFolder(tmp_path / "nowhere", 8)
    with pytest.raises(
        ValueError, match="no file with one of the extensions png, jpg, jpeg, jfif, webp, bmp, gif, tif, tiff"
    ):
        ImageFolder(tmp_path, 8)
    good = save(tmp_path / "good.png", flat((0, 0, 0)))
    with pytest.raises(FieldError, match=r"^path=.*good\.png: is a file; give the folder"):
        ImageFolder(good, 8)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "bad.png").write_bytes(b"<html>not found</html>")
    with pytest.raises(FileError, match=r"1 of 2 files in .* cannot be used: sub/bad\.png \(.*Repair them"):
        subset(ImageFolder(tmp_path, 8))


def test_a_truncated_jpeg_is_named_when_it_is_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / "a.jpg", noise)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(FileError, match=rf"cannot read the image {re.escape(str(path))}: .*Re-export it"):
        ImageFolder(tmp_path, 8)[0]


@pytest.mark.parametrize(
    ("option", "message"),
    [({"fit": "zoom"}, "^fit=zoom: .*crop, pad, stretch"), ({"background": "whit"}, "^background=whit: ")],
)
def test_bad_options_name_the_choices(tmp_path: Path, option: dict[str, str], message: str) -> None:
    save(tmp_path / "a.png", flat((0, 0, 0)))
    with pytest.raises(FieldError, match=message):
        ImageFolder(tmp_path, 8, **option)  # type: ignore[arg-type]


def test_captions_come_from_the_manifest(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", flat((0, 0, 0)))
    save(tmp_path / "images" / "sub" / "b.png", flat((0, 0, 0)))
    manifest = tmp_path / "m.csv"
    manifest.write_text("file,caption,other\na.png,a cat,\nsub/b.png,a dog,a wolf\n")
    data = ImageFolder(tmp_path / "images", 8, manifest=manifest)
    assert data[0].captions == {"caption": "a cat"}
    assert data.captions(1) == {"caption": "a dog", "other": "a wolf"}
    manifest.write_text("file,caption\na.png,a cat\n")
    with pytest.raises(FileError, match=r"manifest m\.csv misses 1 of 2 images: sub/b\.png; add a row for each"):
        ImageFolder(tmp_path / "images", 8, manifest=manifest)
