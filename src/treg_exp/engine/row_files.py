"""The rows of a run as its processes write them: what is done, and which rows a continued run cannot count on."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from treg_exp.data.sample import Sample
from treg_exp.engine.plan import Plan
from treg_exp.files import whole, write_parts
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
    row_in,
)
from treg_exp.tasks.problems import Problem

SHARED = (TARGET, MEASUREMENT, PSEUDO_INVERSE, PREVIEW)  # of all restorations of a sample


class Marks:
    """Which work items have a row in a folder; every call reads what was appended since the last one.

    Args:
        folder: of the rows or of the failures.
        plan: of the run; rows of other items are left out.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self._marks = np.zeros(len(plan), dtype=bool)
        self._read: dict[Path, int] = {}  # bytes of each file, up to the end of a line

    def __call__(self) -> NDArray[np.bool_]:
        """A mark for every position of the plan; not a copy."""
        sizes = {file: _size(file) for file in self.folder.glob("*.jsonl")}
        if any(sizes.get(file, 0) < read for file, read in self._read.items()):  # written anew
            self._marks[:] = False
            self._read.clear()
        for file, size in sizes.items():
            start = self._read.get(file, 0)
            if size != start:
                self._read[file] = start + self._mark(file, start)
        return self._marks

    def _mark(self, file: Path, start: int) -> int:
        """Mark what the lines after ``start`` say; number of their bytes."""
        read = 0
        with file.open("rb") as stream:
            stream.seek(start)
            for line in stream:
                if (row := row_in(line)) is not None and (position := self.plan.position(key_of(row))) is not None:
                    self._marks[position] = True
                if line.endswith(b"\n"):  # a torn line may still be completed
                    read += len(line)
        return read


def _size(file: Path) -> int:
    """Its size by now: only for a file that is opened does a network file system ask its server."""
    with file.open("rb") as stream:
        return stream.seek(0, os.SEEK_END)


def shared_pictures(sample: Sample, problem: Problem) -> set[str]:
    """Names of the pictures that the restorations of a sample share and that a finished run has."""
    kept = {TARGET: sample.target is not None, MEASUREMENT: problem.measured}
    return {name for name, there in kept.items() if there}


def drop_damaged_rows(
    layout: RunLayout, plan: Plan, numbers: Collection[str], shared: Mapping[str, Collection[str]]
) -> list[Key]:
    """Take out the rows whose restoration has to be done again, and delete damaged files that samples share.

    Those are rows whose picture or signal is not whole, rows that lack what the data decides or hold something
    else than numbers, and of a sample with a damaged or missing shared file the first row: whoever restores it writes
    that file, too. Rows of other work items stay.

    Args:
        layout: of the run folder, which nobody writes meanwhile.
        plan: of the run.
        numbers: names of columns that are no text.
        shared: task -> names of the pictures that the restorations of a sample share and that have to be there.

    Returns:
        Keys of the rows that are gone, in the order of their lines.
    """
    damaged = {}
    for sample in _names(layout.samples):
        task = plan.task(sample)
        if task is not None and (names := _damaged(layout.sample(sample), shared.get(task, ()))):
            damaged[sample] = names
    again, dropped = set(damaged), list[Key]()
    for file in sorted(layout.rows.glob("*.jsonl")):
        lost = set()  # numbers of lines
        with file.open("rb") as stream:
            for number, line in enumerate(stream):
                if (row := row_in(line)) is None or (position := plan.position(key := key_of(row))) is None:
                    continue
                if not (_sound(row, plan[position].told, numbers) and _kept(layout, key)) or key[0] in again:
                    lost.add(number)
                    dropped.append(key)
                    again.discard(key[0])
        if lost:
            with file.open("rb") as stream:
                write_parts(file, (line for number, line in enumerate(stream) if number not in lost))
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
