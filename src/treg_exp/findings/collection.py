"""The runs of a report, read from their folders alone; a damaged folder is told and left out."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treg_exp.configuration.keys import OPTIONAL
from treg_exp.errors import ConfigError, FileError
from treg_exp.files import read_json
from treg_exp.metrics.column import Columns
from treg_exp.reports.columns import read_columns
from treg_exp.run_layout import KEY, Key, Row, RunLayout, key_of, row_in
from treg_exp.sweeps.manifest import MANIFEST
from treg_exp.sweeps.overview import Line, is_run, lines

SEED = "seed"
#: What a configuration leaves out where it is off: beside runs that have it, it is a level like any other.
LEFT_OUT = {f"{key}._target_": "off" for key in OPTIONAL}


@dataclass(frozen=True, eq=False)
class Run:
    """One run folder.

    Attributes:
        path: the folder.
        state: of its status.
        settings: its scientific configuration, by dotted key.
        environment: versions and machine.
        columns: what its numbers mean.
        rows: one per restoration.
        drawn: one per sample and variant with several draws, numbers of all of them together.
        summary: its ``summary.json``; empty where there is none.
        prior_files: its ``prior_files.json``; empty where there is none.
        damage: what of it cannot be read, but is not needed for its numbers.
    """

    path: Path
    state: str
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    columns: Columns
    rows: Sequence[Row]
    drawn: Sequence[Row] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    prior_files: Mapping[str, Any] = field(default_factory=dict)
    damage: Sequence[str] = ()

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self.settings.get("task.name", "?"))

    @property
    def seed(self) -> Any:
        """Of its solver."""
        return self.settings.get(SEED)

    @property
    def apart_from_seed(self) -> tuple[tuple[str, str], ...]:
        """The settings without the seed: runs that agree in them are repetitions of one another."""
        return tuple(sorted((key, str(value)) for key, value in self.settings.items() if key != SEED))


@dataclass(frozen=True)
class Collection:
    """What was found.

    Attributes:
        runs: that have rows.
        skipped: folders that were left out, each with its reason.
    """

    runs: Sequence[Run]
    skipped: Sequence[str]


def collect(paths: Iterable[Path]) -> Collection:
    """The runs of these folders, each a run, a sweep, or a folder of several.

    Raises:
        ConfigError: a folder is none of them, or no run with results is there.
    """
    found: dict[Path, Run] = {}
    skipped: dict[Path, str] = {}
    for path in paths:
        for line in _lines(path, skipped):
            folder = line.folder.resolve()
            if folder in found or folder in skipped:
                continue
            try:
                found[folder] = _read(line)
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                skipped[folder] = _told(line.folder, error)
    if not found:
        why = "".join(f"\n  {reason}" for reason in skipped.values())
        raise ConfigError(f"no run with results in these folders{why}")
    return Collection(list(found.values()), list(skipped.values()))


def _lines(path: Path, skipped: dict[Path, str]) -> list[Line]:
    """Like `lines`, but a child that cannot be listed costs itself alone."""
    of_sweep = (path / MANIFEST).is_file()
    try:
        return lines(path)
    except ConfigError as error:
        if not of_sweep:
            raise
        skipped[path.resolve()] = f"{_told(path, error)}; its folders are read without it"
    except (OSError, ValueError, TypeError, KeyError) as error:
        if is_run(path) or not path.is_dir():
            raise ConfigError(_told(path, error)) from None
    try:
        children = sorted(child for child in path.iterdir() if child.is_dir())
    except OSError as error:
        raise ConfigError(_told(path, error)) from None
    found = []
    for child in children:
        try:
            if is_run(child) or (child / MANIFEST).is_file():
                found += lines(child)
        except (OSError, ValueError, TypeError, KeyError) as error:
            skipped[child.resolve()] = _told(child, error)
    return found


def _told(folder: Path, error: Exception) -> str:
    why = str(error) if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {error}"
    return why if str(folder) in why else f"{folder}: {why}"


def _read(line: Line) -> Run:
    """A run with rows.

    Raises:
        FileError: what its numbers need is missing or damaged.
        OSError: it cannot be read.
    """
    layout, damage = RunLayout(line.folder), []
    rows, torn = _rows(layout.rows)
    if not rows:
        why = f"its {torn} rows cannot be read" if torn else "no restoration is there yet"
        raise FileError(f"{line.folder}: {line.status.state}, and {why}")
    if not layout.identity.is_file():
        raise FileError(f"{layout.identity} is missing: nothing says with which settings the run was made")
    if torn:
        damage.append(f"{line.folder}: {torn} of {torn + len(rows)} rows cannot be read and are left out")
    notes: dict[str, Mapping[str, Any]] = {}
    for name in ("environment", "summary", "prior_files"):
        try:
            notes[name] = read_json(getattr(layout, name))
        except (OSError, ValueError) as error:
            notes[name] = {}
            damage.append(f"{_told(line.folder, error)}; the numbers of its rows are used all the same")
    return Run(
        path=line.folder,
        state=line.status.state,
        settings={**LEFT_OUT, **dict(flat(read_json(layout.identity)))},
        columns=_columns(line.folder),
        rows=rows,
        drawn=_drawn(layout.posterior, damage),
        damage=damage,
        **notes,
    )


def _columns(folder: Path) -> Columns:
    """Raises FileError where they are damaged."""
    try:
        return read_columns(folder)
    except (TypeError, KeyError, AttributeError) as error:
        raise FileError(f"{RunLayout(folder).columns} is damaged: {error}") from None


def _rows(folder: Path) -> tuple[list[Row], int]:
    """Like `read_rows`, and how many lines hold none; the last line of a run that is at work may be torn."""
    found: dict[Key, Row] = {}
    torn = 0
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            if (row := row_in(line)) is not None:
                found.setdefault(key_of(row), row)
            else:
                torn += bool(line.strip())
    return list(found.values()), torn


def _drawn(file: Path, damage: list[str]) -> list[Row]:
    """The rows of ``posterior.csv``."""
    try:
        lines = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines())) if file.is_file() else []
    except (OSError, ValueError, csv.Error) as error:
        damage.append(f"{file} cannot be read ({error}): numbers of all draws together are left out")
        return []
    found = []
    for line in lines:
        row: Row = {name: line.get(name) for name in KEY[:2]}
        for name, value in line.items():
            with suppress(TypeError, ValueError):
                if name not in (*KEY, "draws") and math.isfinite(number := float(value)):
                    row[name] = number
        found.append(row)
    return [row for row in found if row["sample_id"] and row["variant"]]


def flat(node: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """The values of nested settings by dotted key."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node
