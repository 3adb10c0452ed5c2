"""How far a sweep is, as a table: from the files of its folder alone, on any machine that sees them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from treg_exp.engine.outcome import INTERRUPTED
from treg_exp.engine.status import Status, read_status
from treg_exp.errors import ConfigError
from treg_exp.run_layout import RunLayout
from treg_exp.sweeps.manifest import MANIFEST, Sweep, varying

STATES = ("failed", "stale", "interrupted", "running", "pruned", "queued", "finished")  # what needs a look comes first
COLOURS = {"failed": "red", "stale": "red", "interrupted": "yellow", "running": "cyan", "finished": "green"}
OVER = ("finished", "pruned", "failed")
AT_WORK, WRONG = ("queued", "running"), ("failed", "stale")
LONG = 40  # jobs from which on the table leaves out what is queued and what is finished
WATCH_SECONDS = 5.0  # between two looks
NARROWEST = 100  # characters of a table that no terminal shows


@dataclass(frozen=True)
class Line:
    """One run of the table.

    Attributes:
        folder: its folder.
        label: what tells it from the others.
        status: how far it is.
    """

    folder: Path
    label: str
    status: Status

    @property
    def rate(self) -> float:
        """Restorations per second since it was started; 0 before the first one."""
        done = self.status.finished - self.status.begun_with
        return done / self.status.seconds if done > 0 and self.status.seconds > 0 else 0.0

    @property
    def left(self) -> int:
        """Restorations that are still to be made, as far as it is known."""
        return max((self.status.expected or 0) - self.status.finished - self.status.failed, 0)


def lines(path: Path) -> list[Line]:
    """The runs of a sweep, a single run, or those of all sweeps and runs in a folder.

    Raises:
        ConfigError: there is nothing of the kind.
    """
    if (path / MANIFEST).is_file():
        return _of_sweep(Sweep(path))
    if is_run(path):
        return [Line(path, "", read_status(path))]
    children = sorted(child for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
    found: list[Line] = []
    for child in children:
        if (child / MANIFEST).is_file():
            found += [Line(line.folder, f"{child.name}: {line.label}", line.status) for line in _of_sweep(Sweep(child))]
        elif is_run(child):
            found.append(Line(child, "", read_status(child)))
    if not found:
        raise ConfigError(f"{path}: no run and no sweep; give the run_dir of one, or the folder that holds them")
    return found


def show(path: Path, watch: bool = False, every: bool = False, as_json: bool = False) -> int:
    """Print the table.

    Args:
        path: see `lines`.
        watch: show it anew until nothing is queued or running.
        every: list all runs of a long sweep.
        as_json: print JSON for programs instead.

    Returns:
        Exit code: 1 where something failed or is stale, 130 after Ctrl-C, 0 otherwise.
    """
    console = Console()
    try:
        if watch and console.is_terminal and not as_json:
            found = _watch(path, every, console)
        else:
            while _is_at_work(found := lines(path)) and watch:
                time.sleep(WATCH_SECONDS)
            _print(path, found, every, as_json, console)
    except KeyboardInterrupt:
        return INTERRUPTED
    return int(any(line.status.state in WRONG for line in found))


def _print(path: Path, found: Sequence[Line], every: bool, as_json: bool, console: Console) -> None:
    if as_json:
        rows = [{"folder": str(line.folder), "label": line.label, **asdict(line.status)} for line in found]
        print(json.dumps(rows, indent=2))
        return
    if not console.is_terminal:  # nobody cuts the lines of a file
        console = Console(width=max(NARROWEST, max(len(line.label) for line in found) + 80))
    console.print(table(path, found, every))


def _watch(path: Path, every: bool, console: Console) -> list[Line]:
    """Show the table anew until nobody is at work; returns its last lines."""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            found = lines(path)
            live.update(table(path, found, every), refresh=True)
            if not _is_at_work(found):
                return found
            time.sleep(WATCH_SECONDS)


def _is_at_work(found: Sequence[Line]) -> bool:
    return any(line.status.state in AT_WORK for line in found)


def table(path: Path, found: Sequence[Line], every: bool = False) -> Group:
    """What `show` prints."""
    counts = Counter(line.status.state for line in found)
    told = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    head = [f"{path}: {told}", *([f"about {_duration(left)} left"] if (left := seconds_left(found)) else [])]
    ordered = sorted(found, key=lambda line: STATES.index(line.status.state) if line.status.state in STATES else 0)
    shown = [line for line in ordered if every or len(found) <= LONG or line.status.state not in ("queued", "finished")]
    result = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "settings", "state"):
        result.add_column(name, overflow="fold")
    for name in ("done", "failed", "per min", "left"):
        result.add_column(name, justify="right")
    result.add_column("what is wrong", overflow="fold")
    for line in shown:
        result.add_row(*_cells(line))
    parts: list[Any] = [Text(", ".join(head)), *([result] if shown else [])]
    if hidden := len(found) - len(shown):
        parts.append(Text(f"{hidden} more are queued or finished; --all lists them"))
    return Group(*parts)


def seconds_left(found: Sequence[Line]) -> float:
    """About how long the sweep will take, with as many jobs at a time as now; 0 where nothing tells.

    Runs that have not begun count as the mean of the others.
    """
    known = [line for line in found if line.status.expected]
    rates = [line.rate for line in known if line.rate]
    running = sum(line.status.state == "running" for line in found)
    if not rates or not running:
        return 0.0
    usual = sum(line.status.expected or 0 for line in known) / len(known)
    left = sum(line.left if line.status.expected else usual for line in found if line.status.state not in OVER)
    return left / (sum(rates) / len(rates)) / running


def _of_sweep(sweep: Sweep) -> list[Line]:
    jobs = list(sweep.jobs.values())
    labels = varying(jobs)
    return [Line(sweep.folder(job), labels[job.id], sweep.status(job)) for job in jobs]


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run, or of a job that is planned."""
    layout = RunLayout(path)
    return any(file.is_file() for file in (layout.status, layout.identity, layout.job))


def _cells(line: Line) -> list[Any]:
    status = line.status
    done = f"{status.finished}/{status.expected}" if status.expected is not None else ""
    left = _duration(line.left / line.rate) if status.state == "running" and line.rate else ""
    state = f"{status.state} ({status.host})" if status.state == "running" and status.host else status.state
    rate = f"{60 * line.rate:.3g}" if line.rate else ""
    coloured = Text(state, style=COLOURS.get(status.state, ""))
    numbers = [done, str(status.failed or ""), rate, left]
    return [line.folder.name, Text(line.label), coloured, *numbers, Text(status.problem)]


def _duration(seconds: float) -> str:
    """As 45 s, 12 min, 3.4 h or 2.1 d."""
    for most, unit, name in ((90, 1, "s"), (90 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < most:
            return f"{seconds / unit:.{int(unit == 3600)}f} {name}"
    return f"{seconds / 86400:.1f} d"
