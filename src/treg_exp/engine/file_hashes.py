"""Hashes of the files that a run depends on and that its configuration names by path only.

The whole content is hashed, since a few changed tensors change results as well. That costs about a second per GB, and
the time to read the file once, which the model does anyway a moment later. It is done once per file and user: a file
whose size and times are the noted ones is not read again. Notes are in the run folder, and for the next run in the
user's cache folder.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from treg_exp.errors import FileError
from treg_exp.files import read_json, user_cache, write_json
from treg_exp.stamps import Stamp, stamp_of

LARGE = 2 * 10**9  # bytes from which on the user is told what takes so long
CACHED = 10**6  # bytes from which on reading a file takes longer than looking for its hash in the cache

Note = dict[str, Any]  # sha256, size, modified


def hashed(files: Sequence[Path], before: Mapping[str, Note]) -> dict[str, Note]:
    """Hash, size and time of change of each file, by the last two parts of its path.

    Args:
        files: to be hashed.
        before: what this function returned earlier; its hash is taken where size and time are the same.
    """
    stamps = {"/".join(file.parts[-2:]): stamp_of(file) for file in files}
    known = {name: _noted(before.get(name), stamp) or _cached(stamp) for name, stamp in stamps.items()}
    total = sum(stamp.size for name, stamp in stamps.items() if not known[name])
    if total > LARGE:
        print(f"hashing {total / 1e9:.1f} GB of weights, once", file=sys.stderr, flush=True)
    return {name: {"sha256": known[name] or _hash_of(stamp), **_told(stamp)} for name, stamp in stamps.items()}


def changed_file(before: Mapping[str, Note], now: Mapping[str, Note]) -> str | None:
    """Name of the first file with another hash, or that only one of both has."""
    names = [*before, *(name for name in now if name not in before)]
    return next((name for name in names if _sha256(before.get(name)) != _sha256(now.get(name))), None)


def _sha256(note: object) -> str | None:
    value = note.get("sha256") if isinstance(note, dict) else None
    return value if isinstance(value, str) else None


def _told(stamp: Stamp) -> Note:
    """What a run folder notes of a file: not its place, which may be another one on another machine."""
    return {"size": stamp.size, "modified": [stamp.modified, stamp.changed]}


def _noted(note: object, stamp: Stamp) -> str | None:
    """The hash that a run folder has noted for this very file."""
    told = _told(stamp)
    return _sha256(note) if isinstance(note, dict) and told == {key: note.get(key) for key in told} else None


@cache
def _hash_of(stamp: Stamp) -> str:
    """Once for all jobs of a process, and noted for further processes."""
    with Path(stamp.place).open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if (note := _cache_file(stamp)) and stamp.settled():  # a younger file may change and keep its times
        with suppress(OSError):  # without a note it will be read again
            write_json(note, {**asdict(stamp), "sha256": found})
    return found


def _cached(stamp: Stamp) -> str | None:
    """The hash in the user's cache folder; None where anything about the file is different, or nothing is there."""
    try:
        note = read_json(file) if (file := _cache_file(stamp)) else {}
    except (FileError, OSError):
        return None
    return _sha256(note) if note == {**asdict(stamp), "sha256": note.get("sha256")} else None


def _cache_file(stamp: Stamp) -> Path | None:
    """Where the hash of a file is noted: one small file for each, so that any number of processes may write."""
    folder = user_cache()
    if folder is None or stamp.size < CACHED:
        return None
    return folder / "file_hashes" / f"{hashlib.sha256(stamp.place.encode()).hexdigest()[:32]}.json"
