"""What loggers share: which curves they were told already, and which rows and pictures stand for a long run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from treg_exp.engine.environment import environment, read_noted
from treg_exp.files import write_json
from treg_exp.reports.trajectory import CURVES, Trajectory
from treg_exp.run_layout import Key

Row = Mapping[str, Any]


class Told:
    """The restorations whose curves a logger has, noted beside its files: a continued run tells the others.

    Args:
        file: the note, or None to remember them for this process only.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        noted = read_noted(file).get("curves") if file else None
        self.curves: set[str] = set(noted) if isinstance(noted, list) else set()

    def new(self, found: Iterable[tuple[Key, Trajectory]]) -> list[tuple[str, Trajectory]]:
        """Those that are not told yet, as ``<variant>/<sample>``, for draw 0 is the only one recorded."""
        named = ((f"{variant}/{sample}", trajectory) for (sample, variant, _), trajectory in found)
        return [(name, trajectory) for name, trajectory in named if name not in self.curves]

    def add(self, names: Iterable[str]) -> None:
        """Those are told by now."""
        self.curves.update(names)
        if self.file:
            write_json(self.file, {"curves": sorted(self.curves)})


def by_step(curves: Iterable[tuple[str, Trajectory]]) -> Iterator[tuple[int, dict[str, float]]]:
    """Steps in order with the points of all curves there, as ``trajectory/<column>/<variant>/<sample>``."""
    points: dict[int, dict[str, float]] = {}
    for name, trajectory in curves:
        for column in CURVES:
            for step, value in zip(*trajectory.curve(column), strict=True):
                points.setdefault(int(step), {})[f"trajectory/{column}/{name}"] = value
    yield from sorted(points.items())


def samples_of(rows: Iterable[Row], most: int | None = None) -> list[str]:
    """Samples in the order of the rows; the first ``most`` of them."""
    found: dict[str, None] = {}
    for row in rows:
        if most is not None and len(found) >= most:
            break
        found.setdefault(row["sample_id"])
    return list(found)[:most]


def spread_rows(rows: Iterable[Row], most: int) -> list[Row]:
    """At most so many rows: all those of samples that are evenly spread over the run, so that variants can be compared.

    Args:
        rows: of a run; read three times, and not kept.
        most: rows; of a single sample with more of them the first ones count.
    """
    samples, count = samples_of(rows), sum(1 for _ in rows)
    if count <= most:
        return list(rows)
    room = max(1, most * len(samples) // count)
    chosen = {samples[k * len(samples) // room] for k in range(room)}
    found: list[Row] = []
    for row in rows:
        if row["sample_id"] in chosen and len(found) < most:
            found.append(row)
    return found


def final_means(summary: Mapping[str, Any]) -> dict[str, float]:
    """The means of a run's summary as ``<variant>/<column>``."""
    return {
        f"{variant}/{name}": value["mean"]
        for variant, entry in summary["variants"].items()
        for name, value in entry["metrics"].items()
    }


def code_version() -> dict[str, Any]:
    """Revision, whether the working tree had changes, and versions, as loggers show them."""
    found = environment()
    revision = found["git"] or ""
    kept = {name: found[name] for name in ("python", "platform", "gpus", "packages")}
    return {"revision": revision.removesuffix("-dirty") or None, "dirty": revision.endswith("-dirty"), **kept}
