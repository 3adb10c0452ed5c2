"""Atomic file writing: a reader sees the old file or the new one, never half of one.

``write_*`` functions write a hidden temporary file next to the target and rename it. The rename is
atomic because both names are on the same file system; a process killed before it leaves only the hidden file. What is
written is on the disk before it has its name: else a power cut leaves a file that is there and empty.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import uuid
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from treg_exp.errors import FileError

TEMPORARY_SUFFIX = ".tmp"
OURS = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")  # names of the hidden files; other programs have .tmp files, too
NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # of a file system that cannot say what is on the disk
PNG_START = b"\x89PNG\r\n\x1a\n"


class WriteError(OSError):
    """A file cannot be written: no space left, no permission, a folder that is gone. ``filename`` names it."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(error.errno, error.strerror or str(error), str(path))

    def __str__(self) -> str:
        return f"cannot write {self.filename}: {self.strerror}"


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write ``data`` to ``path`` in one atomic step; missing folders are made. Returns the path.

    Raises:
        WriteError: it cannot be written.
    """
    return write_parts(path, (data,))


def write_parts(path: str | Path, parts: Iterable[bytes]) -> Path:
    """The same for data that comes part by part, and is never in memory as a whole."""
    path = Path(path)
    # Not tempfile.mkstemp: it makes files that only their owner can read, which breaks shared run folders.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.writelines(parts)
            _to_disk(file)
        temporary.replace(path)
    except OSError as error:
        raise WriteError(path, error) from None
    finally:
        with suppress(OSError):
            temporary.unlink()
    return path


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    try:
        os.fsync(file.fileno())  # of a full disk or quota a network file system tells only here
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def leftover(path: Path) -> bool:
    """Whether a name is one that a process of ours leaves behind when it is killed while it writes."""
    return OURS.fullmatch(path.name) is not None


def write_text(path: str | Path, text: str) -> Path:
    """Write ``text`` as UTF-8, line ends as given; see :func:`write_bytes`."""
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> Path:
    """Write ``value`` as indented JSON with a final newline; see :func:`write_bytes`.

    Non-finite numbers become ``null``: ``NaN`` is no JSON, and most readers refuse the file because of it.
    """
    return write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file.

    Raises:
        FileError: the file is damaged.
    """
    path = Path(path)
    if not path.is_file():
        return {}
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileError(f"{path} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise FileError(f"{path} is damaged: it holds no object")
    return value


def append_json_line(path: str | Path, *values: Any) -> Path:
    """Append each of ``values`` as one line of JSON; a reader may see a torn last line, but never a mixed one.

    A line that a killed process left unfinished is closed first, so that it cannot swallow the new one. There
    is one writer per file. Non-finite numbers become ``null``. On return all lines are on the disk.

    Raises:
        WriteError: they cannot be written.
    """
    path = Path(path)
    made = (json.dumps(finite(value), ensure_ascii=False, allow_nan=False).encode() + b"\n" for value in values)
    lines = b"".join(made)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                lines = lines if file.read(1) == b"\n" else b"\n" + lines
            file.write(lines)  # append mode: always at the end; one call
            _to_disk(file)
    except OSError as error:
        raise WriteError(path, error) from None
    return path


def user_cache() -> Path | None:
    """The user's folder for what can be made again; None where there is none."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return folder / "treg_exp" if folder.is_absolute() else None  # without a home "~" stays as it is


def whole(file: Path) -> bool:
    """Whether a file is there up to its end: a PNG with all its checksums, a WAV of the length that it says.

    Pixels are not decoded: of a run with many files this costs little more than reading them.
    """
    try:
        data = file.read_bytes()
    except OSError:
        return False
    if file.suffix == ".wav":
        return data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") == len(data) - 8
    if file.suffix != ".png":
        return bool(data)
    at = len(PNG_START)
    if data[:at] != PNG_START:
        return False
    while len(data) >= at + 12:  # a chunk: length, kind, content, checksum
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4]) or len(data) < end + 4:
            return False
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at = end + 4
    return False


def finite(value: Any) -> Any:
    """A copy of a JSON-like value with None in place of every NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
