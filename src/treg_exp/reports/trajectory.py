"""How a restoration came about, step by step, as the run folder keeps it for a few samples. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treg_exp.errors import FileError
from treg_exp.files import finite, read_json
from treg_exp.run_layout import Key, RunLayout, key_of

#: Columns of a point that are drawn against the step, and how they are called.
CURVES: Mapping[str, str] = {
    "residual": "residual in standard deviations of the noise",
    "alignment": "alignment with the prompt",
    "guidance": "guidance scale",
    "change": "relative change of z_0",
}
POINT = ("step", "t", "sigma", *CURVES)  # all columns of a point


@dataclass(frozen=True)
class Trajectory:
    """Some steps of one restoration.

    Attributes:
        steps: that the solver takes; those of ``points`` are a selection.
        alignment_by: name of the metric that ``alignment`` is of (its name in ``metrics``), or None.
        points: by step, in order: ``step`` (0-based), ``t`` and ``sigma`` (what the network is told, and the weight of
            the noise in z_t), ``residual`` (RMSE of A(D(z_0)) - y over the standard deviation of the noise),
            ``alignment`` (cosine of D(z_0) and the prompt), ``guidance`` (scale, times the weight of the text),
            ``change`` (||z_0 - z_0 of the step before|| / ||the latter||). None where there is none.
    """

    steps: int
    alignment_by: str | None
    points: tuple[Mapping[str, float | None], ...]

    def curve(self, column: str) -> tuple[list[float], list[float]]:
        """Steps and values of a column, of the points that have one."""
        found = [(point["step"], point.get(column)) for point in self.points]
        known = [(step, value) for step, value in found if step is not None and value is not None]
        return [step for step, _ in known], [value for _, value in known]

    def as_json(self) -> dict[str, Any]:
        """What the file holds."""
        return {"steps": self.steps, "alignment_by": self.alignment_by, "points": [dict(p) for p in self.points]}


def read_trajectory(run_dir: str | Path, key: Key) -> Trajectory | None:
    """The trajectory of a restoration; None where none was recorded or its file is damaged.

    Args:
        run_dir: the run folder.
        key: sample, variant, draw.
    """
    try:
        stored: dict[str, Any] = finite(read_json(RunLayout(Path(run_dir)).trajectory(key)))
        points = tuple(point for point in stored.get("points", ()) if isinstance(point.get("step"), int))
        return Trajectory(int(stored["steps"]), stored.get("alignment_by"), points) if points else None
    except (FileError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return None


def read_trajectories(
    run_dir: str | Path, rows: Iterable[Mapping[str, Any]], samples: int | None = None
) -> Iterator[tuple[Key, Trajectory]]:
    """The trajectories of a run, in the order of its rows.

    Args:
        run_dir: the run folder.
        rows: of the run.
        samples: look for those of so many samples, the first ones; None for all.
    """
    seen: set[str] = set()
    for key in map(key_of, rows):
        if samples is not None:
            seen.add(key[0])
            if len(seen) > samples:
                return
        if key[2] == 0 and (found := read_trajectory(run_dir, key)):
            yield key, found
