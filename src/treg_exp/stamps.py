"""What tells one content of a file from another without reading it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

COARSEST_CLOCK = 2 * 10**9  # nanoseconds between two times that every file system can tell apart (FAT's 2 s)


@dataclass(frozen=True)
class Stamp:
    """Of one file; whoever exchanges the file changes one of these, also where rsync or tar set its times back.

    Attributes:
        place: its path without symbolic links.
        inode: its number in the file system.
        size: bytes.
        modified: ns since 1970, of the content.
        changed: ns since 1970, of anything about it; nobody can set it.
    """

    place: str
    inode: int
    size: int
    modified: int
    changed: int

    def settled(self) -> bool:
        """Whether it is old enough for the next change to have another time."""
        return time.time_ns() - max(self.modified, self.changed) > COARSEST_CLOCK


def stamp_of(file: Path) -> Stamp:
    """The stamp of a file as it is now.

    Raises:
        OSError: it is not there.
    """
    place = file.resolve()
    stat = place.stat()
    return Stamp(str(place), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def stamps_of(files: Iterable[Path]) -> tuple[Stamp, ...]:
    """The stamps of several files, in their order.

    Raises:
        OSError: one is not there.
    """
    return tuple(map(stamp_of, files))


def stamps_in(folder: Path) -> tuple[Stamp, ...]:
    """The stamps of the files in a folder, by name; none where there is no such folder."""
    return stamps_of(sorted(file for file in folder.glob("*") if file.is_file()))


def digest_of(file: Path) -> str:
    """SHA-256 of a file's content in hex; computed again only when its stamp has changed.

    Raises:
        OSError: it is not there.
    """
    stamp = stamp_of(file)
    return _digest(stamp) if stamp.settled() else _digest.__wrapped__(stamp)


@lru_cache(maxsize=64)
def _digest(stamp: Stamp) -> str:
    with open(stamp.place, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
