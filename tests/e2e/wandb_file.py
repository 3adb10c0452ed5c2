"""Reads an offline W&B run back from disk (a LevelDB log of protobuf records)."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

BLOCK, HEADER = 32768, 7


def records(file: Path) -> Iterator:
    from wandb.proto import wandb_internal_pb2

    for payload in _payloads(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(payload)
        yield record


def _payloads(data: bytes) -> Iterator[bytes]:
    position, parts = HEADER, b""  # the file starts with a header of its own
    while position + HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + HEADER])
        parts += data[position + HEADER : position + HEADER + length]
        position += HEADER + length
        if kind in (1, 4):  # a full record, or the last part of one
            yield parts
            parts = b""


def read(run: Path) -> dict:
    """Config, summary, history keys, last step, artifact files and identity of one offline run folder."""
    (file,) = run.glob("*.wandb")
    found: dict = {"config": {}, "summary": {}, "history": set(), "files": {}, "exit_code": None, "last_step": None}
    for record in records(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found |= {"id": record.run.run_id, "group": record.run.run_group, "job_type": record.run.job_type}
            found["config"] |= {u.key: json.loads(u.value_json) for u in record.run.config.update if u.key}
        elif kind == "summary":
            found["summary"] |= {_name(u): json.loads(u.value_json) for u in record.summary.update}
        elif kind == "history":
            found["history"] |= {_name(item) for item in record.history.item}
            found["last_step"] = record.history.step.num
        elif kind == "artifact":
            found["files"] |= {entry.path: Path(entry.local_path) for entry in record.artifact.manifest.contents}
        elif kind == "exit":
            found["exit_code"] = record.exit.exit_code
    return found


def _name(item) -> str:
    return item.key or ".".join(item.nested_key)
