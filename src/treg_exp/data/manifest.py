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
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from sys import intern
from typing import Any

from treg_exp.data.listing import NAMED_AT_MOST, first_few
from treg_exp.data.naming import identifier, sample_id_of
from treg_exp.errors import FileError

FILE_NAME, TEXT, CAPTION = "file_name", "text", "caption"  # names of Hugging Face, and ours
KEYS = ("sample_id", "file", FILE_NAME)
HALF = re.compile("[\ud800-\udfff]")  # no text, but JSON can write it
Cells = Sequence[tuple[str, Any]]  # (column, cell) of a row, where a column may occur twice
Row = tuple[int, Cells]  # with the number of its line


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
    parent = path.resolve().parent
    root = folder.resolve() if folder else None

    def place(file_name: str) -> str:
        """Of a file that is named relative to the manifest, below the folder; one that is not there stays as it is."""
        absolute = Path(os.path.normpath(parent / file_name))
        return absolute.relative_to(root).as_posix() if root and absolute.is_relative_to(root) else file_name

    texts: dict[str, dict[str, str]] = {}
    try:
        with path.open(encoding="utf-8-sig") as stream:  # -sig: spreadsheets write a byte order mark
            for line, row in readers[path.suffix.lower()](where, stream):
                sample_id, roles = _entry(where, line, row, place)
                if sample_id in texts:
                    raise FileError(f"{where}, line {line}: {sample_id!r} has a row already")
                texts[sample_id] = roles
    except UnicodeDecodeError:
        raise FileError(f"{where}, line {_undecodable(path)}: not UTF-8; save the file with that encoding") from None
    if not texts:
        raise FileError(f"{where} has no rows")
    return texts


def _undecodable(path: Path) -> int:
    """The first line that is not UTF-8; a stream tells its place in a part of the file."""
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    return 1


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


def _csv_rows(where: str, stream: Iterable[str]) -> Iterator[Row]:
    # strict: without it, a quote that is never closed swallows the rows below it in silence.
    reader = csv.reader(stream, strict=True, skipinitialspace=True)
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


def _json_rows(where: str, stream: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=tuple)  # a dictionary would hide keys that occur twice
        except json.JSONDecodeError as error:
            raise FileError(f"{where}, line {number}: no valid JSON ({error.msg})") from None
        if not isinstance(row, tuple):
            raise FileError(f"{where}, line {number}: needs one JSON object per line")
        yield number, row


def _entry(where: str, line: int, row: Cells, place: Callable[[str], str]) -> tuple[str, dict[str, str]]:
    """The id and the non-empty texts of one row; ``where`` and ``line`` start messages, ``place`` is of `FILE_NAME`."""
    foreign = any(name == FILE_NAME for name, _ in row)
    cells: dict[str, str] = {}
    for name, text in row:
        if not isinstance(text, str | None):
            if foreign and name not in KEYS:
                continue
            wrong = [name for name, text in row if not isinstance(text, str | None)]
            raise FileError(f"{where}, line {line}: {', '.join(wrong)} must be text")
        if name in cells:
            raise FileError(f"{where}, line {line}: {name!r} occurs twice; keep one of them, or give it another name")
        text = (text or "").strip()
        if name or text:  # spreadsheets append columns without name and text
            cells[intern(name)] = text  # of a million rows each has the name of its own from JSON
            if not text.isascii() and HALF.search(text) and name not in KEYS:
                raise FileError(f"{where}, line {line}: {_half(name)}")
    if halves := [name for name in cells if HALF.search(name)]:
        raise FileError(f"{where}, line {line}: {_half(halves[0])}")
    if "" in cells:
        raise FileError(f"{where}, line {line}: {cells['']!r} stands in a column without a name; name its role")
    if cells.get("sample_id"):
        sample_id = identifier(cells["sample_id"])
    elif file := cells.get("file") or (cells.get(FILE_NAME) and place(cells[FILE_NAME])):
        if not (file[-1].isalnum() or Path(file).name):
            raise FileError(f"{where}, line {line}: {file!r} is no name of a file")
        sample_id = sample_id_of(file)
    else:
        raise FileError(f"{where}, line {line}: needs sample_id, file or file_name")
    roles = {name: text for name, text in cells.items() if text and name not in KEYS}
    if foreign and TEXT in roles and CAPTION not in roles:
        roles[CAPTION] = roles.pop(TEXT)
    if not roles:
        raise FileError(f"{where}, line {line}: {sample_id!r} has an empty text in every role")
    return sample_id, roles


def _half(name: str) -> str:
    return f"{name!a} holds half of a letter, \\ud800 to \\udfff; write the letter itself"
