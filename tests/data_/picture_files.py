"""Files of pictures written byte by byte, so that what a reader makes of them is judged by the formats alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.integer]  # (H, W, channels), as they are stored
ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # x, y, dx, dy


def packed(rows: Samples, depth: int, order: str = ">") -> list[bytes]:
    """Each row of samples as bytes; samples of fewer than 8 bits (or of 12) share them, and a row begins with one."""
    flat = rows.reshape(len(rows), -1)
    if depth in (8, 16):
        return [row.astype(f"{order}u{depth // 8}").tobytes() for row in flat]
    bits = (flat[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    return [np.packbits(row.ravel().astype(np.uint8)).tobytes() for row in bits]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif(orientation: int) -> bytes:
    return b"II*\0" + struct.pack("<IHHHIII", 8, 1, 274, 3, 1, orientation, 0)


def png(
    samples: Samples, depth: int, colour: int, orientation: int = 1, palette: Samples | None = None,
    transparency: bytes = b"", interlaced: bool = False, more: bytes = b"",
) -> bytes:  # fmt: skip
    height, width = samples.shape[:2]
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [samples]
    body = b"".join(b"\0" + row for part in parts if part.size for row in packed(part, depth))
    return b"".join((
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, colour, 0, 0, interlaced)),
        more,
        chunk(b"PLTE", palette.astype(np.uint8).tobytes()) if palette is not None else b"",
        chunk(b"tRNS", transparency) if transparency else b"",
        chunk(b"eXIf", exif(orientation)) if orientation != 1 else b"",
        chunk(b"IDAT", zlib.compress(body)),
        chunk(b"IEND", b""),
    ))  # fmt: skip


def tiff(
    samples: Samples, depth: int, photometric: int, orientation: int = 1, palette: Samples | None = None,
    extra: Sequence[int] = (), order: str = "<", planar: bool = False, deflated: bool = False, signed: bool = False,
    more: Sequence[tuple[int, int, int, bytes]] = (),
) -> bytes:  # fmt: skip
    height, width, channels = samples.shape
    parts = [samples[..., i] for i in range(channels)] if planar else [samples]
    strips = [b"".join(packed(part, depth, order)) for part in parts]
    strips = [zlib.compress(strip) for strip in strips] if deflated else strips
    starts = [8 + sum(map(len, strips[:i])) for i in range(len(strips))]
    tags = {
        256: (3, [width]), 257: (3, [height]), 258: (3, [depth] * channels), 259: (3, [8 if deflated else 1]),
        262: (3, [photometric]), 273: (4, starts), 274: (3, [orientation]), 277: (3, [channels]), 278: (3, [height]),
        279: (4, [len(strip) for strip in strips]), 284: (3, [2 if planar else 1]),
    }  # fmt: skip
    if palette is not None:
        tags[320] = (3, list((palette * 257).T.ravel()))
    if extra:
        tags[338] = (3, list(extra))
    if signed:
        tags[339] = (3, [2] * channels)
    data = b"".join(strips)
    data += b"\0" * (len(data) % 2)
    entries = {tag: struct.pack(f"{order}HHI", tag, kind, count) + value for tag, kind, count, value in more}
    for tag, (kind, values) in sorted(tags.items()):
        value = struct.pack(f"{order}{len(values)}{' HI'[kind - 2]}", *values)
        if len(value) > 4:
            at, data = 8 + len(data), data + value
            value = struct.pack(f"{order}I", at)
        entries.setdefault(tag, struct.pack(f"{order}HHI", tag, kind, len(values)) + value.ljust(4, b"\0"))
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(data))
    return (
        head
        + data
        + struct.pack(f"{order}H", len(entries))
        + b"".join(entries[tag] for tag in sorted(entries))
        + bytes(4)
    )


def bmp(samples: Samples) -> bytes:
    """RGBA of 8 bits, with masks that say where alpha is."""
    height, width = samples.shape[:2]
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, 4 * width * height, 0, 0, 0, 0) + masks
    body = samples[::-1, :, [2, 1, 0, 3]].astype(np.uint8).tobytes()
    return struct.pack("<2sIII", b"BM", 14 + 108 + len(body), 0, 14 + 108) + head.ljust(108, b"\0") + body
