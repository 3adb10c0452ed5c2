"""W&B's offline file of a run: a log in LevelDB's format with one protobuf record after the other.

``wandb sync`` refuses one whose end a killed process has left torn, and leaves out without a word what a table refers
to by the path at which the run was made. `mend` makes files that it uploads whole.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treg_exp.errors import FileError
from treg_exp.files import write_bytes

BLOCK, HEAD = 32768, struct.Struct("<IHB")  # a piece begins with checksum, length, kind
START = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
STAGED = "artifacts"  # folder, beside those of the runs, of the files that tables refer to


@dataclass
class OfflineRun:
    """One offline file, of one start of a run.

    Attributes:
        file: where it is.
        run_id: of the W&B run that it belongs to.
        project: of that run.
        records: its whole records.
        whole: whether it ends behind a record.
        moved: files that it refers to by another path than they have now: that path -> this one.
        gone: files that it refers to and that are nowhere.
    """

    file: Path
    run_id: str = ""
    project: str = ""
    records: list[bytes] = field(default_factory=list)
    whole: bool = True
    moved: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


def read_offline(file: Path) -> OfflineRun:
    """What an offline file holds.

    Raises:
        FileError: it is damaged elsewhere than at its end, or is none.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise FileError(f"{file} cannot be read: {error.strerror}") from None
    found = OfflineRun(file)
    for payload in _payloads(file, data):
        if payload is None:
            found.whole = False
        else:
            found.records.append(payload)
            _look_at(found, _parsed(file, payload))
    if not found.run_id:
        raise FileError(f"{file} is damaged: it names no run")
    return found


def mend(found: OfflineRun) -> bool:
    """Make a file whole, and let it refer to files where they are now. Whether it was written anew."""
    if found.whole and not found.moved:
        return False
    records = []
    for payload in found.records:
        record = _parsed(found.file, payload)
        if record.WhichOneof("record_type") == "artifact":
            for entry in record.artifact.manifest.contents:
                entry.local_path = found.moved.get(entry.local_path, entry.local_path)
            payload = record.SerializeToString()
        records.append(payload)
    write_bytes(found.file, log_of(records))
    return True


def log_of(records: Iterable[bytes]) -> bytes:
    """Records as the content of a file."""
    content = bytearray(START)
    for record in records:
        first, left = True, record
        while first or left:
            room = BLOCK - len(content) % BLOCK
            if room < HEAD.size:
                content += bytes(room)
                continue
            piece, left = left[: room - HEAD.size], left[room - HEAD.size :]
            kind = (LAST if not left else MIDDLE) if not first else (FIRST if left else FULL)
            content += HEAD.pack(zlib.crc32(piece, zlib.crc32(bytes([kind]))), len(piece), kind) + piece
            first = False
    return bytes(content)


def _payloads(file: Path, data: bytes) -> Iterator[bytes | None]:
    """Whole records, and None where the file ends within one."""
    if data[: len(START)] != START:
        raise FileError(f"{file} is damaged: it does not begin as a file of W&B does")
    at, parts = len(START), b""
    while at < len(data):
        left = BLOCK - at % BLOCK
        if left < HEAD.size:
            at += left
            continue
        if len(data) - at < HEAD.size:
            yield None
            return
        checksum, length, kind = HEAD.unpack_from(data, at)
        piece = data[at + HEAD.size : at + HEAD.size + length]
        if len(piece) < length:
            yield None
            return
        if zlib.crc32(piece, zlib.crc32(bytes([kind]))) != checksum:
            raise FileError(f"{file} is damaged: the checksum of the record at byte {at} is another")
        parts, at = parts + piece, at + HEAD.size + length
        if kind in (FULL, LAST):
            yield parts
            parts = b""
    if parts:
        yield None


def _parsed(file: Path, payload: bytes) -> Any:
    from wandb.proto import wandb_internal_pb2

    record = wandb_internal_pb2.Record()
    try:
        record.ParseFromString(payload)
    except Exception as error:
        raise FileError(f"{file} is damaged: {error}") from None
    return record


def _look_at(found: OfflineRun, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        found.run_id, found.project = record.run.run_id, record.run.project
    elif kind == "artifact":
        for entry in record.artifact.manifest.contents:
            if not entry.local_path or Path(entry.local_path).is_file():
                continue
            here = found.file.parents[1] / STAGED / entry.local_path.rpartition(f"/{STAGED}/")[2]
            if here.is_file():
                found.moved[entry.local_path] = str(here)
            else:
                found.gone.append(entry.local_path)
