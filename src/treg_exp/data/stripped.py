"""Picture files without what does not make their picture.

Pillow refuses a PNG for a long or broken text and a TIFF for a tag of the wrong type. So these parts are left out
before it sees them. Its readers of JPEG, WebP, BMP and GIF do not look at theirs.
"""

from __future__ import annotations

import io
import mmap
import re
import struct
from typing import IO, BinaryIO, cast

PNG = b"\x89PNG\r\n\x1a\n"
#: Chunks that make a PNG's picture: size, palette, transparency, pixels, orientation.
CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND")
ORIENTED = re.compile(rb"(?:Raw profile type exif|XML:com\.adobe\.xmp)\0")  # texts that hold an orientation, too
LONGEST_TEXT = 2**20  # bytes of such a text
TIFF = {b"II*\0": "<", b"MM\0*": ">"}  # byte order
#: Tags that make a TIFF's picture: size, samples, where and how they are stored, palette, alpha, tables of JPEG.
TAGS = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 338, 339, 347}
TAGS |= set(range(512, 522)) | {529, 530, 531, 532}
ORIENTATION = 274


def picture_alone(file: BinaryIO) -> IO[bytes]:
    """The file, or its content without metadata; of a TIFF with several pages the first.

    A PNG is read whole, of a TIFF only what is asked for.
    """
    head = file.read(8)
    if head == PNG:
        return io.BytesIO(_png(file))
    if head[:4] in TIFF:
        if isinstance(file, io.BytesIO):
            changed = bytearray(file.getbuffer())
            _shorten_directory(changed, TIFF[head[:4]])
            return io.BytesIO(changed)
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # changes are not written to the file
        _shorten_directory(content, TIFF[head[:4]])
        return cast(IO[bytes], content)
    file.seek(0)
    return file


def _png(file: BinaryIO) -> bytes:
    kept = [PNG]
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        body = file.read(length + 4)  # with the checksum
        if kind in CHUNKS or (length < LONGEST_TEXT and ORIENTED.match(body)):
            kept += [head, body]
    return b"".join(kept)


def _shorten_directory(content: mmap.mmap | bytearray, order: str) -> None:
    """Write the tags that are needed over those that are there."""
    start = struct.unpack_from(f"{order}I", content, 4)[0] if len(content) >= 8 else 0
    if not 0 < start <= len(content) - 2:
        return
    end = start + 2 + 12 * struct.unpack_from(f"{order}H", content, start)[0]
    entries = [bytes(content[at : at + 12]) for at in range(start + 2, min(end, len(content) - 11), 12)]
    kept = [entry for entry in entries if _needed(entry, order)]
    new = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + bytes(4)  # 0: no further page
    content[start : start + len(new)] = new[: len(content) - start]


def _needed(entry: bytes, order: str) -> bool:
    tag, kind, count, value = struct.unpack(f"{order}HHIH", entry[:10])
    return tag in TAGS or (tag == ORIENTATION and (kind, count) == (3, 1) and 1 <= value <= 8)
