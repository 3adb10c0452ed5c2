"""What a report compares: a method is a setting of a run and of its text, with all seeds that it was tried with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from treg_exp.errors import ConfigError
from treg_exp.findings.collection import Run, names
from treg_exp.metrics.column import Columns
from treg_exp.reports.columns import variant_label
from treg_exp.reports.summary import by_image, statistics
from treg_exp.run_layout import IDENTITY, Row

MEASUREMENT = "measurement"  # column of a row: hash of the measurement
Differences = np.ndarray[Any, np.dtype[np.float64]]
FLIPS, CHUNK = 10_000, 500  # random signs of the permutation test; those at once, which bounds the memory


@dataclass(frozen=True)
class Method:
    """Rows that belong together.

    Attributes:
        name: what it is called.
        task: what was measured.
        variant: setting of the text.
        runs: one per seed.
        rows: of all of them.
    """

    name: str
    task: str
    variant: str
    runs: Sequence[Run]
    rows: Sequence[Row]

    @property
    def settings(self) -> Mapping[str, Any]:
        """Of its first run; the others differ in the seed."""
        return self.runs[0].settings

    @property
    def measurements(self) -> dict[str, str]:
        """Hash of the measurement by image."""
        return {row["sample_id"]: str(row.get(MEASUREMENT, "")) for row in self.rows}


@dataclass(frozen=True)
class Effect:
    """How much a method differs from another one in one number, on the same measurements.

    Attributes:
        method: the one.
        baseline: the other.
        metric: column.
        mean: of the differences method - baseline over images; draws and seeds of an image are averaged before.
        low: lower end of the 95 % percentile bootstrap interval over images.
        high: its upper end.
        wins: share of the images on which the method is better.
        n: images.
        p: of a paired sign-flip permutation test of the mean, two-sided.
        q: p after Benjamini and Hochberg's correction for all effects of the report.
    """

    method: Method
    baseline: Method
    metric: str
    mean: float
    low: float | None
    high: float | None
    wins: float
    n: int
    p: float
    q: float = field(default=float("nan"))


def methods(runs: Sequence[Run]) -> list[Method]:
    """The methods of these runs, in their order."""
    groups: dict[tuple[Any, ...], list[tuple[Run, str]]] = {}
    for run, name in zip(runs, names(runs), strict=True):
        groups.setdefault((run.apart_from_seed, name), []).append((run, name))
    several_variants = len({row["variant"] for run in runs for row in run.rows}) > 1
    found = []
    for group in groups.values():
        members, name = [run for run, _ in group], group[0][1]
        for variant in dict.fromkeys(row["variant"] for run in members for row in run.rows):
            rows = [row for run in members for row in run.rows if row["variant"] == variant]
            label = variant_label(variant, members[0].columns)
            called = ", ".join(part for part in (name, label if several_variants or not name else "") if part)
            found.append(Method(called, members[0].task, variant, members, rows))
    return found


def columns_of(runs: Sequence[Run]) -> Columns:
    """The columns of all runs together."""
    columns = runs[0].columns
    for run in runs[1:]:
        columns = columns.with_more(run.columns.known)
    return columns


def metrics_of(compared: Sequence[Method], columns: Columns) -> list[str]:
    """Columns with numbers, in their order; costs among them."""
    present = dict.fromkeys(
        name
        for method in compared
        for row in method.rows
        for name, value in row.items()
        if name not in (*IDENTITY, MEASUREMENT) and isinstance(value, int | float)
    )
    return columns.ordered(present)


def baseline_of(compared: Sequence[Method], wanted: str | None) -> dict[str, Method]:
    """The method that the others of a task are compared with, by task.

    Args:
        compared: all methods.
        wanted: its name, or a part of it; None takes the first one of each task.

    Raises:
        ConfigError: no name has that part.
    """
    found: dict[str, Method] = {}
    for method in compared:
        if wanted is None or wanted == method.name or (wanted in method.name and method.task not in found):
            found.setdefault(method.task, method)
            if wanted == method.name:
                found[method.task] = method
    if not found:
        raise ConfigError(f"--baseline {wanted}: no such method; there are {', '.join(m.name for m in compared)}")
    return found


def effects(
    compared: Sequence[Method], baselines: Mapping[str, Method], metrics: Sequence[str], columns: Columns
) -> list[Effect]:
    """The differences of all methods from the baseline of their task, in what has a better direction."""
    found = []
    for method in compared:
        baseline = baselines.get(method.task)
        if baseline is None or baseline is method:
            continue
        for metric in (name for name in metrics if columns[name].higher_is_better is not None):
            effect = _effect(method, baseline, metric, columns)
            if effect is not None:
                found.append(effect)
    return _corrected(found)


def _effect(method: Method, baseline: Method, metric: str, columns: Columns) -> Effect | None:
    own, other = by_image(method.rows, metric), by_image(baseline.rows, metric)
    measured, measured_too = method.measurements, baseline.measurements
    same = [image for image in own if image in other and measured[image] == measured_too[image]]
    if not same:
        return None
    differences = np.array([own[image] - other[image] for image in same])
    numbers = statistics(list(differences))
    better = columns[metric].higher_is_better
    wins = float((differences > 0 if better else differences < 0).mean())
    low, high = (None if value is None else float(value) for value in (numbers["low"], numbers["high"]))
    return Effect(method, baseline, metric, float(differences.mean()), low, high, wins, len(same), _p(differences))


def _p(differences: Differences) -> float:
    """Two-sided p of the mean under random signs, which no difference between the methods would have."""
    rng, extreme = np.random.default_rng(0), 0
    for _ in range(FLIPS // CHUNK):
        sums = rng.choice((-1.0, 1.0), size=(CHUNK, len(differences))) @ differences
        extreme += int((np.abs(sums) >= np.abs(differences.sum()) - 1e-12).sum())
    return (extreme + 1) / (FLIPS + 1)  # the signs as they are count, too


def _corrected(found: Sequence[Effect]) -> list[Effect]:
    from scipy.stats import false_discovery_control

    if not found:
        return []
    corrected = false_discovery_control([effect.p for effect in found], method="bh")
    return [replace(effect, q=float(q)) for effect, q in zip(found, corrected, strict=True)]
