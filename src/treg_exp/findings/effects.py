"""By how much methods differ from the baseline of their task, and whether that is real."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from treg_exp.findings.methods import Method
from treg_exp.findings.pairing import Pairing
from treg_exp.findings.resampling import Array, per_image, statistics
from treg_exp.metrics.column import Columns

FLIPS, CHUNK = 10_000, 500  # random signs of the permutation test; those at once, which bounds the memory
NORMAL_95 = 1.959964  # standard deviations of a normal variable on each side of its mean that hold 95 %


@dataclass(frozen=True, eq=False)
class Effect:
    """How much a method differs from another one in one number, on the same measurements.

    Attributes:
        method: the one.
        baseline: the other.
        metric: column.
        mean: of the differences method - baseline over images.
        low: lower end of its 95 % bootstrap interval, see `interval`.
        high: its upper end.
        size: the mean in standard deviations of the differences, see `effect_size`; None where they do not vary.
        size_low: lower end of its 95 % interval.
        size_high: its upper end.
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
    size: float | None
    size_low: float | None
    size_high: float | None
    wins: float
    n: int
    p: float = field(default=float("nan"))
    q: float = field(default=float("nan"))


def effects(pairs: Sequence[Pairing], metrics: Sequence[str], columns: Columns) -> list[Effect]:
    """The differences of all pairs in what has a better direction."""
    directed = [name for name in metrics if columns[name].higher_is_better is not None]
    found, changes = [], []
    for pair in pairs:
        for metric in directed:
            if differences := _differences(pair, metric):
                found.append(_effect(pair, metric, differences, columns))
                changes.append(per_image(differences))
    return _corrected([replace(effect, p=p) for effect, p in zip(found, p_values(changes), strict=True)])


def _differences(pair: Pairing, metric: str) -> list[list[float]]:
    """Per image, method - baseline of every seed and draw that both have; of the means where they share none.

    In the order of the images' names, so that all effects resample the same images together.
    """
    own, other, images = pair.method.numbers(metric), pair.baseline.numbers(metric), set(pair.images)
    found = []
    for image, values in own.items():
        if image not in images or image not in other:
            continue
        rivals = other[image]
        both = [key for key in values if key in rivals]
        means = _mean(values.values()) - _mean(rivals.values())
        found.append([values[key] - rivals[key] for key in both] or [means])
    return found


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _effect(pair: Pairing, metric: str, differences: list[list[float]], columns: Columns) -> Effect:
    found, values = statistics(differences), per_image(differences)
    wins = float((values > 0 if columns[metric].higher_is_better else values < 0).mean())
    size = effect_size(values)
    return Effect(
        pair.method, pair.baseline, metric, found["mean"], found["low"], found["high"], *size, wins, len(values)
    )


def effect_size(values: Array) -> tuple[float | None, float | None, float | None]:
    """Hedges' g_z of paired differences and its 95 % interval: d_z = mean / standard deviation, without its bias.

    The correction is the exact one, Gamma(v/2) / (sqrt(v/2) Gamma((v-1)/2)) with v = n - 1 (Hedges, 1981). The
    interval is that of large samples, g +- 1.96 sqrt(1/n + g^2 / 2n) (Hedges and Olkin, 1985): for d between 0 and
    1.5 it held d in 93 to 97 % of normal samples of 8 to 100 differences, a bootstrap of d in 86 to 97 %.

    Args:
        values: one difference per image, (n,).

    Returns:
        g, its lower and its upper end; None each where there are fewer than three, or where they do not vary.
    """
    from scipy.special import gammaln

    n = len(values)
    if n < 3 or (spread := float(values.std(ddof=1))) <= 1e-9 * float(np.abs(values).max(initial=0)):
        return None, None, None
    half = (n - 1) / 2
    unbiased = float(np.exp(gammaln(half) - gammaln(half - 0.5)) / np.sqrt(half))
    size = unbiased * float(values.mean()) / spread
    around = NORMAL_95 * float(np.sqrt(1 / n + size**2 / (2 * n)))
    return size, size - around, size + around


def p_values(differences: Sequence[Array]) -> list[float]:
    """Two-sided p of each mean under random signs, which no difference between the methods would have.

    Args:
        differences: of several effects; those with as many images share the signs, which saves most of the time.
    """
    found = [1.0] * len(differences)
    for n in {len(values) for values in differences}:
        places = [i for i, values in enumerate(differences) if len(values) == n]
        together = np.stack([differences[i] for i in places], axis=1)
        least = np.abs(together.sum(axis=0)) * (1 - 1e-9) - 1e-12
        rng, extreme = np.random.default_rng(0), np.zeros(len(places), dtype=np.int64)
        for _ in range(FLIPS // CHUNK):
            signs = rng.integers(0, 2, (CHUNK, n), dtype=np.int8) * 2.0 - 1.0
            extreme += (np.abs(signs @ together) >= least).sum(axis=0)
        for i, count in zip(places, extreme, strict=True):
            found[i] = (int(count) + 1) / (FLIPS + 1)  # the signs as they are count, too
    return found


def _corrected(found: Sequence[Effect]) -> list[Effect]:
    from scipy.stats import false_discovery_control

    if not found:
        return []
    corrected = false_discovery_control([effect.p for effect in found], method="bh")
    return [replace(effect, q=float(q)) for effect, q in zip(found, corrected, strict=True)]
