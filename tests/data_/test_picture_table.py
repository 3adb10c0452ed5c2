"""Every kind of picture file: container x depth x colour type x transparency x orientation, to the pixel.

What is expected is computed here from the stored samples, by the formats alone; for targets (transparency lies on a
background) and for measurements (transparency is refused).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL import __version__ as PILLOW

from tests.data_.picture_files import Samples, bmp, png, tiff
from tests.data_.test_pictures import ROTATED
from treg_exp.data.measurements import MeasurementFolder
from treg_exp.data.pictures import read_rgb
from treg_exp.errors import FileError

BEHIND = np.array([10, 200, 90])
PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3))
SIZE = (5, 7)
NEWER = {"tiff grey and something": 13, "tiff grey times alpha": 13, "tiff rgb and something 16": 12}  # refused before
LITTLE_ONLY = ((0, 16), (1, 12))  # (photometric, depth) of TIFFs that Pillow does not know with the other byte order


def samples(channels: int, depth: int) -> Samples:
    """Any values, among them the extremes, one value twice, and one that differs from it in the last bit."""
    values = np.random.default_rng(depth).integers(0, 2**depth, (*SIZE, channels))
    values[0, 0], values[0, 1], values[4, 6], values[2, 3] = 0, 2**depth - 1, values[1, 1], values[1, 1] ^ 1
    return values


@dataclass(frozen=True)
class Kind:
    """One line of the table.

    ``file`` makes the file for an orientation; ``colour`` is (H, W, 3) in 0..255, not rounded, ``alpha`` (H, W) in
    0..1; ``tolerance`` is in levels, for readers that may round otherwise.
    """

    name: str
    suffix: str
    file: Callable[[int], bytes]
    colour: np.ndarray
    alpha: np.ndarray = field(default_factory=lambda: np.ones(SIZE))
    tolerance: float = 0
    orientations: tuple[int, ...] = tuple(ROTATED)


def pngs() -> list[Kind]:
    kinds = []
    for colour, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))):
        for depth in depths:
            channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
            x, largest = samples(channels, depth), 2**depth - 1
            palette = PALETTE[: 2**depth] if colour == 3 else None
            shown = PALETTE[x[..., 0]] if colour == 3 else x[..., : channels - (colour in (4, 6))] * (255 / largest)
            alpha = x[..., -1] / largest if colour in (4, 6) else np.ones(SIZE)
            variants = {"": (b"", alpha)}
            if colour in (0, 2):
                value = struct.pack(f">{channels}H", *x[1, 1])
                variants["value"] = (value, 1.0 - (x == x[1, 1]).all(axis=-1))
            if colour == 3:
                table = np.full(2**depth, 255)
                table[x[1, 1, 0]] = 0
                variants["one entry"] = (bytes(table.tolist()), table[x[..., 0]] / 255)
                table = np.random.default_rng(2).integers(0, 256, 2**depth - 1)  # what it leaves out is opaque
                variants["entries"] = (bytes(table.tolist()), np.append(table, 255)[x[..., 0]] / 255)
            for name, (value, seen) in variants.items():
                for interlaced in (False, True):
                    kinds.append(Kind(
                        f"png {colour} {depth} {name} {'interlaced' * interlaced}", "png",
                        lambda o, x=x, d=depth, c=colour, p=palette, v=value, i=interlaced: png(x, d, c, o, p, v, i),
                        np.broadcast_to(shown, (*SIZE, 3)), seen,
                    ))  # fmt: skip
    return kinds


def tiffs() -> list[Kind]:
    kinds = []

    def add(name: str, x: Samples, depth: int, photometric: int, shown: np.ndarray, tolerance: float = 0,
            alpha: np.ndarray | None = None, **options: object) -> None:  # fmt: skip
        for order in "<" if (photometric, depth) in LITTLE_ONLY else "<>":
            for deflated in (False, True):
                more = {**options, "order": order, "deflated": deflated}
                kinds.append(Kind(
                    f"tiff {name} {depth} {order}{' deflated' * deflated}", "tif",
                    lambda o, more=more: tiff(x, depth, photometric, o, **more),
                    np.broadcast_to(shown, (*SIZE, 3)), np.ones(SIZE) if alpha is None else alpha, tolerance,
                ))  # fmt: skip

    for depth in (1, 2, 4, 8, 16):
        x, largest = samples(1, depth), 2**depth - 1
        add("white is 0", x, depth, 0, (largest - x) * (255 / largest))
        add("black is 0", x, depth, 1, x * (255 / largest))
        if depth <= 8:
            palette = PALETTE[: 2**depth]
            add("palette", x, depth, 3, palette[x[..., 0]], palette=palette)
    for depth in (8, 16):
        x, largest = samples(4, depth), 2**depth - 1
        unit = x / largest
        add("rgb", x[..., :3], depth, 2, unit[..., :3] * 255)
        add("rgb planes", x[..., :3], depth, 2, unit[..., :3] * 255, int(depth == 16), planar=True)
        add("rgb and something", x, depth, 2, unit[..., :3] * 255, extra=[0])
        add("rgb and alpha", x, depth, 2, unit[..., :3] * 255, alpha=unit[..., 3], extra=[2])
        multiplied = np.concatenate([np.minimum(x[..., :3], x[..., 3:]), x[..., 3:]], axis=-1)
        straight = multiplied[..., :3] / np.maximum(multiplied[..., 3:], 1) * 255
        add("rgb times alpha", multiplied, depth, 2, straight, 2, unit[..., 3], extra=[1])
        add("inks", x, depth, 5, (1 - unit[..., :3]) * (1 - unit[..., 3:]) * 255, 2)
    x = samples(2, 8)
    add("grey and alpha", x, 8, 1, x[..., :1], alpha=x[..., 1] / 255, extra=[2])
    add("grey and something", x, 8, 1, x[..., :1], extra=[0])
    x = np.sort(x)
    add("grey times alpha", x, 8, 1, x[..., :1] / np.maximum(x[..., 1:], 1) * 255, 2, x[..., 1] / 255, extra=[1])
    x = samples(1, 12)
    add("black is 0", x, 12, 1, x * (255 / 4095))
    return kinds


def others() -> list[Kind]:
    """Kinds that Pillow writes, with smooth pictures where the file loses something."""
    ramp = np.stack(np.broadcast_arrays(np.linspace(40, 200, 7), np.linspace(20, 90, 5)[:, None], 120), axis=-1)
    ramp, x = ramp.round().astype(np.uint8), samples(4, 8).astype(np.uint8)

    def by(pixels: np.ndarray, suffix: str, mode: str | None = None, **options: object) -> Callable[[int], bytes]:
        def file(orientation: int) -> bytes:
            image, buffer, turned = Image.fromarray(pixels), io.BytesIO(), Image.Exif()
            turned[274] = orientation
            more = {"exif": turned} if orientation != 1 else {}
            (image.convert(mode) if mode else image).save(buffer, suffix, **options, **more)
            return buffer.getvalue()

        return file

    grey = np.broadcast_to(ramp[..., :1], (*SIZE, 3))
    flat = np.broadcast_to([30, 60, 90, 40], (*SIZE, 4)).astype(np.uint8)
    inked = (255.0 - flat[..., :3]) * (255.0 - flat[..., 3:]) / 255
    indexed = Image.fromarray(np.arange(35, dtype=np.uint8).reshape(SIZE), "P")
    indexed.putpalette(PALETTE.astype(np.uint8).tobytes())

    def index(suffix: str, **options: object) -> Callable[[int], bytes]:
        def file(orientation: int) -> bytes:
            buffer = io.BytesIO()
            indexed.save(buffer, suffix, **options)
            return buffer.getvalue()

        return file

    bilevel = ((x[..., :1] > 127) * 255.0) * np.ones(3)
    shown = PALETTE[np.arange(35)].reshape(*SIZE, 3)
    hole = 1.0 - (np.arange(35) == 9).reshape(SIZE)
    only = {"orientations": (1,)}  # no place for an orientation
    return [
        Kind("jpeg grey", "jpg", by(ramp[..., 0], "JPEG", quality=100), grey, tolerance=2),
        Kind("jpeg rgb", "jpg", by(ramp, "JPEG", quality=100, subsampling=0), ramp, tolerance=4),
        Kind("jpeg inks", "jpg", inks(flat), inked, tolerance=2, **only),
        Kind("webp rgb", "webp", by(x[..., :3], "WEBP", lossless=True), x[..., :3]),
        Kind("webp rgba", "webp", by(x, "WEBP", lossless=True, exact=True), x[..., :3], x[..., 3] / 255),
        Kind("bmp 1", "bmp", by(x[..., 0] > 127, "BMP"), bilevel, **only),
        Kind("bmp grey", "bmp", by(ramp[..., 0], "BMP"), grey, **only),
        Kind("bmp palette", "bmp", index("BMP"), shown, **only),
        Kind("bmp rgb", "bmp", by(x[..., :3], "BMP"), x[..., :3], **only),
        Kind("bmp rgb of 4 bytes", "bmp", by(x, "BMP"), x[..., :3], **only),  # the fourth is reserved
        Kind("bmp rgba", "bmp", lambda _: bmp(x), x[..., :3], x[..., 3] / 255, **only),
        Kind("gif", "gif", index("GIF"), shown, **only),
        Kind("gif with a hole", "gif", index("GIF", transparency=9), shown, hole, **only),
    ]


def inks(flat: np.ndarray) -> Callable[[int], bytes]:
    def file(orientation: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(flat, "CMYK").save(buffer, "JPEG", quality=100)
        return buffer.getvalue()

    return file


KINDS = [*pngs(), *tiffs(), *others()]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "-"))
def test_table(tmp_path: Path, kind: Kind) -> None:
    if any(kind.name.startswith(name) and int(PILLOW.split(".")[0]) < first for name, first in NEWER.items()):
        pytest.skip("this Pillow does not know the kind")
    alpha = kind.alpha[..., None]
    expected = np.rint(kind.colour) * alpha + BEHIND * (1 - alpha)
    see_through = bool((kind.alpha < 1).any())
    for orientation in kind.orientations:
        file = tmp_path / str(orientation) / f"a.{kind.suffix}"
        file.parent.mkdir()
        file.write_bytes(kind.file(orientation))
        pixels = np.asarray(read_rgb(file, "#0ac85a")).astype(float)
        wanted = ROTATED[orientation](expected)
        assert pixels.shape == wanted.shape
        # Mixing with the background rounds once more.
        assert np.abs(pixels - wanted).max() <= kind.tolerance + see_through * 1.01 + 1e-9, orientation
        data = MeasurementFolder(file.parent)
        if see_through:
            with pytest.raises(FileError, match="transparent pixels, which have no value as a measurement"):
                data[0]
        else:
            measured = data[0].measurement
            assert measured is not None
            assert np.abs((measured.permute(1, 2, 0).numpy() + 1) * 127.5 - wanted).max() <= kind.tolerance + 1e-4
