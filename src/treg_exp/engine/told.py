"""What loggers share: which curves they were told already, and which rows and pictures stand for a long run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from treg_exp.configuration.settings import settings
from treg_exp.configuration.trajectory import TrajectorySettings
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


def recorded_samples(config: Mapping[str, Any]) -> int:
    """Of so many samples, the first ones, the steps are recorded."""
    return settings(TrajectorySettings, OmegaConf.create(config.get("trajectory") or {})).samples


def spread_rows(rows: Collection[Row], most: int) -> list[Row]:
    """At most so many rows: all those of samples that are evenly spread over the run, so that variants can be compared.

    Args:
        rows: of a run, those of a sample one after the other; read twice, and not kept.
        most: rows; of a single sample with more of them the first ones count.
    """
    if len(rows) <= most:
        return list(rows)
    samples = sum(1 for _ in groupby(rows, itemgetter("sample_id")))
    room = max(1, most * samples // len(rows))
    chosen = {k * samples // room for k in range(room)}
    found = (own for i, (_, own) in enumerate(groupby(rows, itemgetter("sample_id"))) if i in chosen)
    return list(islice(chain.from_iterable(found), most))


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
