"""Texts of the images from a CSV or JSONL file: one row per image, one column or key per role.

CSV: ``sample_id,caption,counterfactual`` (UTF-8, commas, a first line of names, texts with commas in quotes).
JSONL: ``{"file": "cats/tabby.png", "caption": "a grey cat"}`` on each line.

A row is found by ``sample_id`` or by ``file`` (path relative to the image folder); all other columns are
roles. An empty cell means that the image has no text in this role.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from treg_exp.data.listing import sample_id_of, some
from treg_exp.errors import ConfigError

KEYS = ("sample_id", "file")
Row = tuple[int, Mapping[str, Any]]  # line number, cells by column


def read_manifest(path: str | Path) -> dict[str, dict[str, str]]:
    """sample_id -> role -> text, in the order of the file.

    Raises:
        ConfigError: there is no such file, or it is no manifest; the message names the line.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise ConfigError(f"prompt manifest {path} does not exist (looked at {path.absolute()})")
    readers = {".csv": _csv_rows, ".jsonl": _json_rows}
    if path.suffix.lower() not in readers:
        raise ConfigError(f"prompt manifest {path.name} must end in .csv or .jsonl")
    texts: dict[str, dict[str, str]] = {}
    for line, row in readers[path.suffix.lower()](path):
        sample_id, roles = _entry(f"prompt manifest {path.name}, line {line}", row)
        if sample_id in texts:
            raise ConfigError(f"prompt manifest {path.name}, line {line}: {sample_id!r} has a row already")
        texts[sample_id] = roles
    if not texts:
        raise ConfigError(f"prompt manifest {path.name} has no rows")
    return texts


def match(texts: Mapping[str, dict[str, str]], names: Mapping[str, str], path: str | Path) -> None:
    """Raise ConfigError where images have no row; rows without an image are allowed.

    Args:
        texts: what :func:`read_manifest` returned.
        names: sample_id -> how the image is called in the message.
        path: the manifest, for the message.
    """
    missing = [name for sample_id, name in names.items() if sample_id not in texts]
    if missing:
        raise ConfigError(
            f"prompt manifest {Path(path).name} misses {len(missing)} of {len(names)} images: "
            f"{some(missing)}; add a row for each"
        )


def _csv_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:  # -sig: spreadsheets write a byte order mark
        reader = csv.DictReader(file)
        columns = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        if not set(columns) & set(KEYS) or len(set(columns) - set(KEYS)) == 0:
            raise ConfigError(
                f"prompt manifest {path.name} needs a column sample_id or file and one for each role, "
                f"such as caption; its columns are: {', '.join(columns) or 'none'}"
            )
        for row in reader:
            if None in row:
                raise ConfigError(
                    f"prompt manifest {path.name}, line {reader.line_num}: more cells than the "
                    f"{len(columns)} columns; put texts that contain a comma in double quotes"
                )
            yield reader.line_num, {name: text or "" for name, text in row.items()}


def _json_rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ConfigError(f"prompt manifest {path.name}, line {number}: no valid JSON ({error.msg})") from None
        if not isinstance(row, dict):
            raise ConfigError(f"prompt manifest {path.name}, line {number}: needs one JSON object per line")
        yield number, row


def _entry(where: str, row: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The id and the non-empty texts of one row; ``where`` starts the error messages."""
    wrong = [name for name, text in row.items() if not isinstance(text, str | None)]
    if wrong:
        raise ConfigError(f"{where}: {', '.join(wrong)} must be text")
    cells = {name: (text or "").strip() for name, text in row.items()}
    if not cells.get("sample_id") and not cells.get("file"):
        raise ConfigError(f"{where}: needs sample_id or file")
    sample_id = cells.get("sample_id") or sample_id_of(cells["file"])
    roles = {name: text for name, text in cells.items() if text and name not in KEYS}
    if not roles:
        raise ConfigError(f"{where}: {sample_id!r} has an empty text in every role")
    return sample_id, roles
