"""By how much methods differ from the baseline of their task, and whether that is real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from treg_exp.findings.methods import Method
from treg_exp.findings.pairing import Pairing
from treg_exp.metrics.column import Columns
from treg_exp.reports.summary import by_image, statistics

Differences = np.ndarray[Any, np.dtype[np.float64]]
FLIPS, CHUNK = 10_000, 500  # random signs of the permutation test; those at once, which bounds the memory


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


def effects(pairs: Sequence[Pairing], metrics: Sequence[str], columns: Columns) -> list[Effect]:
    """The differences of all pairs in what has a better direction."""
    directed = [name for name in metrics if columns[name].higher_is_better is not None]
    found = [_effect(pair, metric, columns) for pair in pairs for metric in directed]
    return _corrected([effect for effect in found if effect is not None])


def _effect(pair: Pairing, metric: str, columns: Columns) -> Effect | None:
    own, other = by_image(pair.method.rows, metric), by_image(pair.baseline.rows, metric)
    # In the order of by_image, so that all effects resample the same images together.
    images = set(pair.images) & set(other)
    differences = np.array([value - other[image] for image, value in own.items() if image in images])
    if not len(differences):
        return None
    numbers = statistics(list(differences))
    better = columns[metric].higher_is_better
    wins = float((differences > 0 if better else differences < 0).mean())
    low, high = (None if value is None else float(value) for value in (numbers["low"], numbers["high"]))
    n, p = len(differences), _p(differences)
    return Effect(pair.method, pair.baseline, metric, float(differences.mean()), low, high, wins, n, p)


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
