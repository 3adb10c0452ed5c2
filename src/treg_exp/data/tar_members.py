"""The files within a tar archive, found by their headers: nothing is unpacked, and nothing but headers is read."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from treg_exp.errors import FileError

BLOCK = 512  # bytes: headers take one, contents whole ones
MAGIC = b"ustar"
#: What a further header may change of the file behind it; times and owners do not matter.
CHANGES = re.compile(rb"^\d+ (?:path|size|GNU\.sparse|linkpath)", re.MULTILINE)


class Member(NamedTuple):
    """A file within an archive: its name, and where its content is, in bytes."""

    name: str
    offset: int
    size: int


class _UnusualError(Exception):
    """A header that only tarfile reads: long names, sparse files, links."""


def members(archive: Path) -> list[Member]:
    """The regular files of an uncompressed tar archive, in their order.

    Plain headers are read here, in a fifth of the time that tarfile takes (4 and 28 us a file: a million pictures with
    two texts each are 3 million files); for an archive that has others, tarfile does it.

    Raises:
        FileError: it is no such archive, or is cut off.
    """
    try:
        with archive.open("rb") as file:
            try:
                return list(_plain(file))
            except _UnusualError:
                return _by_tarfile(file)
    except (tarfile.TarError, ValueError) as error:
        raise FileError(
            f"{archive} is no tar archive that can be read: {error}. Shards are uncompressed and whole; write it anew"
        ) from None
    except OSError as error:
        raise FileError(f"cannot read {archive}: {error.strerror or error}") from None


def _by_tarfile(file: BinaryIO) -> list[Member]:
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        found = [Member(m.name, m.offset_data, m.size) for m in tar if m.type in (tarfile.REGTYPE, tarfile.AREGTYPE)]
        file.seek(tar.offset)  # tarfile takes whatever is no header for the end
        if not _is_end(file.read(BLOCK)):
            raise _without_end(found[-1].name if found else "")
        return found


def _plain(file: BinaryIO) -> Iterator[Member]:
    end, at, name = file.seek(0, 2), 0, ""
    while at < end or not at:
        file.seek(at)
        header = file.read(BLOCK)
        if at and _is_end(header):
            return
        name, size, kind = _fields(header)
        offset, at = at + BLOCK, at + BLOCK + -(-size // BLOCK) * BLOCK
        if offset + size > end:
            raise ValueError(f"it is cut off within {name}")
        if kind in (b"0", b"\0"):
            yield Member(name, offset, size)
        elif kind not in (b"x", b"5") or (kind == b"x" and CHANGES.search(file.read(size))):
            raise _UnusualError
    raise _without_end(name)


def _is_end(block: bytes) -> bool:
    """Whether it is the block of zeros that ends an archive."""
    return len(block) == BLOCK and not block.strip(b"\0")


def _without_end(name: str) -> ValueError:
    """An archive that was cut between two files looks like a whole one but for its end."""
    return ValueError(
        f"it is cut off or damaged after {name or 'its start'}: neither a file nor the zeros that end an archive "
        "follow. If that is its last file after all, `truncate -s +1024 FILE` adds the zeros"
    )


def _fields(header: bytes) -> tuple[str, int, bytes]:
    """Name, size in bytes and kind of the file that a header describes."""
    if header[257:262] != MAGIC or header[124] & 128:  # 128: more than 8 GB
        raise _UnusualError
    name = header[:100].partition(b"\0")[0]
    if header[262] == 0 and (prefix := header[345:500].partition(b"\0")[0]):  # not of GNU's kind
        name = prefix + b"/" + name
    return name.decode("utf-8", "surrogateescape"), int(header[124:136].rstrip(b"\0 "), 8), header[156:157]
