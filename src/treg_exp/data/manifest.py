"""Texts of the images from a CSV or JSONL file: one row per image, one column or key per role.

CSV: ``sample_id,caption,counterfactual`` (UTF-8, commas, a first line of names, texts with commas in quotes).
JSONL: ``{"file": "cats/tabby.png", "caption": "a grey cat"}`` on each line.

A row is found by ``sample_id`` or by ``file`` (path relative to the image folder); all other columns are
roles. An empty cell means that the image has no text in this role.

The metadata files of Hugging Face data sets are such files, too: ``file_name`` is relative to the metadata file,
``text`` is the caption, and what is no text counts for nothing.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from treg_exp.data.listing import NAMED_AT_MOST, first_few
from treg_exp.data.naming import identifier, sample_id_of
from treg_exp.errors import FileError

FILE_NAME, TEXT, CAPTION = "file_name", "text", "caption"  # names of Hugging Face, and ours
KEYS = ("sample_id", "file", FILE_NAME)
HALF = re.compile("[\ud800-\udfff]")  # no text, but JSON can write it
Row = tuple[int, Sequence[tuple[str, Any]]]  # line number; (column, cell), where a column may occur twice


def read_manifest(path: str | Path, folder: Path | None = None) -> dict[str, dict[str, str]]:
    """sample_id -> role -> text, in the order of the file; no text is empty, and every row has one.

    Args:
        path: the file.
        folder: of the images; None where it is not known.

    Raises:
        FileError: there is no such file, or it is no manifest; the message names the line.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise FileError(f"prompt manifest {path} is a folder; give the CSV or JSONL file")
    if not path.is_file():
        raise FileError(f"prompt manifest {path} does not exist (looked at {path.absolute()})")
    where = f"prompt manifest {path.name}"
    readers = {".csv": _csv_rows, ".jsonl": _json_rows}
    if path.suffix.lower() not in readers:
        raise FileError(f"{where} must end in .csv or .jsonl")
    try:
        content = path.read_text(encoding="utf-8-sig")  # -sig: spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise FileError(f"{where}, line {line}: not UTF-8; save the file with that encoding") from None
    root = folder.resolve() if folder else None

    def place(file_name: str) -> Path:
        """Of a file that is named relative to the manifest, below the folder; one that is not there stays as it is."""
        absolute = Path(os.path.normpath(path.resolve().parent / file_name))
        return absolute.relative_to(root) if root and absolute.is_relative_to(root) else Path(file_name)

    texts: dict[str, dict[str, str]] = {}
    for line, row in readers[path.suffix.lower()](where, content):
        sample_id, roles = _entry(f"{where}, line {line}", row, place)
        if sample_id in texts:
            raise FileError(f"{where}, line {line}: {sample_id!r} has a row already")
        texts[sample_id] = roles
    if not texts:
        raise FileError(f"{where} has no rows")
    return texts


def match(texts: Mapping[str, dict[str, str]], names: Mapping[str, str], path: str | Path) -> None:
    """Raise FileError where images have no row; rows without an image are allowed.

    Args:
        texts: what :func:`read_manifest` returned.
        names: sample_id -> how the image is called in the message.
        path: the manifest, for the message.
    """
    missing = [name for sample_id, name in names.items() if sample_id not in texts]
    if missing:
        # Such rows are no mistake by themselves, but beside a missing one they are likely its misspelling.
        others = list(islice((sample_id for sample_id in texts if sample_id not in names), NAMED_AT_MOST))
        hint = f" (rows that match none of them: {', '.join(others)})" if others else ""
        raise FileError(
            f"prompt manifest {Path(path).name} misses {len(missing)} of {len(names)} images: "
            f"{first_few(missing)}; add a row for each{hint}"
        )


def _csv_rows(where: str, content: str) -> Iterator[Row]:
    # strict: without it, a quote that is never closed swallows the rows below it in silence.
    reader = csv.reader(io.StringIO(content), strict=True, skipinitialspace=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        if not set(columns) & set(KEYS) or len(set(columns) - set(KEYS)) == 0:
            raise FileError(
                f"{where} needs a column sample_id, file or file_name and one for each role, "
                f"such as caption; its columns are: {', '.join(columns) or 'none'}"
            )
        for cells in filter(None, reader):
            if len(cells) > len(columns):
                raise FileError(
                    f"{where}, line {reader.line_num}: more cells than the "
                    f"{len(columns)} columns; put texts that contain a comma in double quotes"
                )
            yield reader.line_num, list(zip(columns, cells, strict=False))
    except csv.Error as error:
        raise FileError(
            f"{where}, line {reader.line_num}: no valid CSV ({error}); a text in double quotes ends with one, "
            "directly before the comma, and has every quote inside doubled"
        ) from None


def _json_rows(where: str, content: str) -> Iterator[Row]:
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=tuple)  # a dictionary would hide keys that occur twice
        except json.JSONDecodeError as error:
            raise FileError(f"{where}, line {number}: no valid JSON ({error.msg})") from None
        if not isinstance(row, tuple):
            raise FileError(f"{where}, line {number}: needs one JSON object per line")
        yield number, row


def _entry(where: str, row: Sequence[tuple[str, Any]], place: Callable[[str], Path]) -> tuple[str, dict[str, str]]:
    """The id and the non-empty texts of one row; ``where`` starts messages, ``place`` is that of a ``file_name``."""
    if foreign := FILE_NAME in dict(row):
        row = [(name, text) for name, text in row if name in KEYS or isinstance(text, str)]
    wrong = [name for name, text in row if not isinstance(text, str | None)]
    if wrong:
        raise FileError(f"{where}: {', '.join(wrong)} must be text")
    cells: dict[str, str] = {}
    for name, text in row:
        if name in cells:
            raise FileError(f"{where}: {name!r} occurs twice; keep one of them, or give it another name")
        if name or (text or "").strip():  # spreadsheets append columns without name and text
            cells[name] = (text or "").strip()
    if halves := [name for name, text in cells.items() if name not in KEYS and HALF.search(name + text)]:
        raise FileError(f"{where}: {halves[0]!a} holds half of a letter, \\ud800 to \\udfff; write the letter itself")
    if "" in cells:
        raise FileError(f"{where}: {cells['']!r} stands in a column without a name; name its role")
    if not any(cells.get(key) for key in KEYS):
        raise FileError(f"{where}: needs sample_id, file or file_name")
    if cells.get("sample_id"):
        sample_id = identifier(cells["sample_id"])
    else:
        file = Path(cells["file"]) if cells.get("file") else place(cells[FILE_NAME])
        if not file.name:
            raise FileError(f"{where}: {file.as_posix()!r} is no name of a file")
        sample_id = sample_id_of(file)
    roles = {name: text for name, text in cells.items() if text and name not in KEYS}
    if foreign and TEXT in roles and CAPTION not in roles:
        roles[CAPTION] = roles.pop(TEXT)
    if not roles:
        raise FileError(f"{where}: {sample_id!r} has an empty text in every role")
    return sample_id, roles
