"""Hashes of the files that a run depends on and that its configuration names by path only.

The whole content is hashed, since a few changed tensors change results as well. That costs about a second per GB, and
the time to read the file once, which the model does anyway a moment later. It is done once per file and run: a file
whose size and times are the noted ones is not read again.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

LARGE = 2 * 10**9  # bytes from which on the user is told what takes so long

Note = dict[str, Any]  # sha256, size, modified


def hashed(files: Sequence[Path], before: Mapping[str, Note]) -> dict[str, Note]:
    """Hash, size and time of change of each file, by the last two parts of its path.

    Args:
        files: to be hashed.
        before: what this function returned earlier; its hash is taken where size and time are the same.
    """
    names = {"/".join(file.parts[-2:]): file for file in files}
    stamps = {name: _stamp(file) for name, file in names.items()}
    known = {name: note["sha256"] for name, note in before.items() if _has(note, stamps.get(name))}
    total = sum(stamp["size"] for name, stamp in stamps.items() if name not in known)
    if total > LARGE:
        print(f"hashing {total / 1e9:.1f} GB of weights, once for this run", file=sys.stderr, flush=True)
    return {
        name: {"sha256": known.get(name) or _hash(file, *stamps[name].values()), **stamps[name]}
        for name, file in names.items()
    }


def changed_file(before: Mapping[str, Note], now: Mapping[str, Note]) -> str | None:
    """Name of the first file with another hash, or that only one of both has."""
    names = [*before, *(name for name in now if name not in before)]
    return next((name for name in names if _sha256(before, name) != _sha256(now, name)), None)


def _sha256(notes: Mapping[str, Note], name: str) -> object:
    note = notes.get(name)
    return note.get("sha256") if isinstance(note, dict) else None


def _stamp(file: Path) -> Note:
    stat = file.stat()
    return {"size": stat.st_size, "modified": [stat.st_mtime_ns, stat.st_ctime_ns]}


def _has(note: object, stamp: Note | None) -> bool:
    return isinstance(note, dict) and isinstance(note.get("sha256"), str) and stamp == {k: note.get(k) for k in _KEYS}


_KEYS = ("size", "modified")


def _hash(file: Path, size: int, modified: Sequence[int]) -> str:
    return _hash_of(file.resolve(), size, *modified)


@cache
def _hash_of(file: Path, size: int, *modified: int) -> str:
    """Once for all jobs of a multirun; the further arguments tell files of one name apart."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
