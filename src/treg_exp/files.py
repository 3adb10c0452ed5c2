"""Atomic file writing: a reader sees the old file or the new one, never half of one.

``write_*`` functions write a hidden temporary file next to the target and rename it. The rename is
atomic because both names are on the same file system; a process killed before it leaves only the hidden file.
"""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEMPORARY_SUFFIX = ".tmp"


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write ``data`` to ``path`` in one atomic step; missing folders are made. Returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile.mkstemp: it makes files that only their owner can read, which breaks shared run folders.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{TEMPORARY_SUFFIX}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_text(path: str | Path, text: str) -> Path:
    """Write ``text`` as UTF-8, line ends as given; see :func:`write_bytes`."""
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> Path:
    """Write ``value`` as indented JSON with a final newline; see :func:`write_bytes`.

    Non-finite numbers become ``null``: ``NaN`` is no JSON, and most readers refuse the file because of it.
    """
    return write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file."""
    path = Path(path)
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return value


def append_json_line(path: str | Path, value: Any) -> Path:
    """Append ``value`` as one line of JSON; a reader may see a torn last line, but never a mixed one.

    A line that a killed process left unfinished is closed first, so that it cannot swallow the new one. There
    is one writer per file. Non-finite numbers become ``null``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(finite(value), ensure_ascii=False, allow_nan=False).encode() + b"\n"
    with path.open("a+b") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)  # append mode: always at the end; one call, flushed by the close
    return path


def finite(value: Any) -> Any:
    """A copy of a JSON-like value with None in place of every NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
