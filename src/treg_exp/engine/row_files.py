"""The rows of a run as its processes write them: what is done, and which rows a continued run cannot count on."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from treg_exp.data.sample import Sample
from treg_exp.files import finite, whole, write_bytes
from treg_exp.run_layout import (
    MEASUREMENT,
    PREVIEW,
    PSEUDO_INVERSE,
    RECONSTRUCTION,
    TARGET,
    Key,
    Row,
    RunLayout,
    key_of,
    rows_in,
)
from treg_exp.tasks.problems import Problem

SHARED = (TARGET, MEASUREMENT, PSEUDO_INVERSE, PREVIEW)  # of all restorations of a sample


class Keys:
    """Keys of the rows in a folder, kept up to date: every call reads what was appended since the last one.

    Args:
        folder: of the rows or of the failures.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: set[Key] = set()
        self._read: dict[Path, int] = {}  # bytes of each file, up to the end of a line

    def __call__(self) -> set[Key]:
        """All keys; not a copy."""
        sizes = {file: _size(file) for file in self.folder.glob("*.jsonl")}
        if any(sizes.get(file, 0) < read for file, read in self._read.items()):  # written anew
            self.found.clear()
            self._read.clear()
        for file, size in sizes.items():
            start = self._read.get(file, 0)
            if size == start:
                continue
            with file.open("rb") as stream:
                stream.seek(start)
                lines = stream.read()
            self.found.update(map(key_of, rows_in(lines)))
            self._read[file] = start + lines.rfind(b"\n") + 1  # a torn line may still be completed
        return self.found


def _size(file: Path) -> int:
    """Its size by now: only for a file that is opened does a network file system ask its server."""
    with file.open("rb") as stream:
        return stream.seek(0, os.SEEK_END)


def shared_pictures(sample: Sample, problem: Problem) -> set[str]:
    """Names of the pictures that the restorations of a sample share and that a finished run has."""
    kept = {TARGET: sample.target is not None, MEASUREMENT: problem.measured}
    return {name for name, there in kept.items() if there}


def drop_damaged_rows(
    layout: RunLayout,
    told: Mapping[Key, Mapping[str, str]],
    numbers: Collection[str],
    shared: Mapping[str, Collection[str]],
) -> list[Key]:
    """Take out the rows whose restoration has to be done again, and delete damaged files that samples share.

    Those are rows whose picture or signal is not whole, rows that lack what the data decides or hold something
    else than numbers, and of a sample with a damaged or missing shared file the first row: whoever restores it writes
    that file, too. Rows of other work items stay.

    Args:
        layout: of the run folder, which nobody writes meanwhile.
        told: columns of text that a row has to have, by key.
        numbers: names of columns that are no text.
        shared: sample -> names of the pictures that its restorations share and that have to be there.

    Returns:
        Keys of the rows that are gone, in the order of their lines.
    """
    samples = {key[0] for key in told}
    damaged = {sample: _damaged(layout.sample(sample), shared.get(sample, ())) for sample in samples}
    again = {sample for sample, names in damaged.items() if names}
    dropped: list[Key] = []
    for file in sorted(layout.rows.glob("*.jsonl")):
        kept: list[Row] = []
        before = len(dropped)
        for row in rows_in(file.read_bytes()):
            key = key_of(row)
            if key not in told or (_sound(row, told[key], numbers) and _kept(layout, key) and key[0] not in again):
                kept.append(row)
            else:
                dropped.append(key)
                again.discard(key[0])
        if len(dropped) > before:
            lines = (json.dumps(finite(row), ensure_ascii=False) + "\n" for row in kept)
            write_bytes(file, "".join(lines).encode())
    for sample, names in damaged.items():  # last: until then another start would see them, too
        folder = layout.sample(sample)
        for left in {left for stem in names for left in _of(_names(folder), stem)}:
            (folder / left).unlink()
    return dropped


def _sound(row: Row, told: Mapping[str, str], numbers: Collection[str]) -> bool:
    texts = all(isinstance(row.get(name), str) for name in told)
    return texts and all(isinstance(row.get(name), int | float | None) for name in numbers)


def _kept(layout: RunLayout, key: Key) -> bool:
    """Whether the files of a restoration are whole: its picture, and its signals beside it."""
    folder = layout.found(key)
    names = _names(folder)
    return f"{RECONSTRUCTION}.png" in names and all(whole(folder / name) for name in _of(names, RECONSTRUCTION))


def _names(folder: Path) -> list[str]:
    """What is in a folder; nothing where it is missing. One look: of very many samples each costs."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _of(names: Collection[str], stem: str) -> list[str]:
    """Names of the pictures and signals that are kept under a stem."""
    return [name for name in names if name.startswith(stem) and name.endswith((".png", ".wav"))]


def _damaged(sample: Path, needed: Collection[str]) -> set[str]:
    """What is damaged or missing of the files that all restorations of a sample share."""
    names = _names(sample)
    damaged = {stem for stem in SHARED if not all(whole(sample / name) for name in _of(names, stem))}
    damaged |= {stem for stem in needed if f"{stem}.png" not in names}
    if damaged - {TARGET}:
        damaged.add(MEASUREMENT)  # written last: where its picture is, none of the others is written
    return damaged
