"""The runs of a report, read from their folders: rows, settings, and a name that tells each from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treg_exp.errors import ConfigError
from treg_exp.files import read_json
from treg_exp.metrics.column import Columns
from treg_exp.reports.columns import read_columns
from treg_exp.run_layout import Row, RunLayout, read_rows
from treg_exp.sweeps.overview import lines

MOST_KEYS = 3  # in a name; a run that differs in more from the others is called by the first ones
SEED = "seed"


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        path: the folder.
        state: of its status.
        settings: its scientific configuration, by dotted key.
        environment: versions and machine.
        columns: what its numbers mean.
        rows: one per restoration.
    """

    path: Path
    state: str
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    columns: Columns
    rows: Sequence[Row]

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self.settings.get("task.name", "?"))

    @property
    def apart_from_seed(self) -> tuple[tuple[str, str], ...]:
        """The settings without the seed: runs that agree in them are repetitions of one another."""
        return tuple(sorted((key, str(value)) for key, value in self.settings.items() if key != SEED))


def collect(paths: Iterable[Path]) -> list[Run]:
    """The runs of these folders, each a run, a sweep, or a folder of several, that have rows.

    Raises:
        ConfigError: there are none.
    """
    found: dict[Path, Run] = {}
    for path in paths:
        for line in lines(path):
            folder, layout = line.folder.resolve(), RunLayout(line.folder)
            if folder not in found and (rows := read_rows(line.folder)):
                settings, environment = dict(flat(read_json(layout.identity))), read_json(layout.environment)
                columns = read_columns(line.folder)
                found[folder] = Run(line.folder, line.status.state, settings, environment, columns, rows)
    if not found:
        raise ConfigError("no run with results in these folders")
    return list(found.values())


def flat(node: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """The values of nested settings by dotted key."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def differing(runs: Sequence[Run], ignored: Sequence[str] = ()) -> list[str]:
    """Dotted keys whose values are not the same in all runs, what a user sets before what follows from it."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return [key for key in keys if key not in ignored and len({str(run.settings.get(key)) for run in runs}) > 1]


def folder_names(runs: Sequence[Run]) -> dict[Path, str]:
    """What the folder of each run is called: its name, and as many parents as tell it from others of that name."""
    parts = {run.path: run.path.resolve().parts for run in runs}
    found: dict[Path, str] = {}
    for depth in range(1, max(map(len, parts.values()), default=0) + 1):
        ends = {path: "/".join(names[-depth:]) for path, names in parts.items()}
        times = Counter(ends.values())
        found |= {path: end for path, end in ends.items() if path not in found and times[end] == 1}
    return found


def names(runs: Sequence[Run]) -> list[str]:
    """What each run is called: the settings that tell it from the others of its task, or its folder."""
    called: dict[Path, str] = {}
    for task in dict.fromkeys(run.task for run in runs):
        called |= _names_of([run for run in runs if run.task == task])
    return [called[run.path] for run in runs]


def _names_of(runs: Sequence[Run]) -> dict[Path, str]:
    keys = differing(runs, ignored=(SEED,))
    told = [key for i, key in enumerate(keys) if not any(_follows(key, other, runs) for other in keys[:i])][:MOST_KEYS]
    found = {}
    for run in runs:
        parts = (f"{_short(key)}={_value(run.settings[key])}" for key in told if key in run.settings)
        found[run.path] = " ".join(parts)
    meant: dict[str, set[Any]] = {}
    for run in runs:
        meant.setdefault(found[run.path], set()).add(run.apart_from_seed)
    clear = {path: name for path, name in found.items() if len(meant[name]) == 1}
    folders = folder_names(runs)
    return {path: clear.get(path, f"{name} {folders[path]}".strip()) for path, name in found.items()}


def _follows(key: str, other: str, runs: Sequence[Run]) -> bool:
    """Whether a key says no more than another one: wherever that one is the same, it is the same, too."""
    pairs = {(str(run.settings.get(other)), str(run.settings.get(key))) for run in runs}
    return len(pairs) == len({first for first, _ in pairs})


def _short(key: str) -> str:
    return key.removesuffix("._target_")


def _value(value: Any) -> str:
    text = str(value)
    return text.rpartition(".")[2] if text.startswith("treg_exp.") else text
