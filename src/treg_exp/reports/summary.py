"""Means of every number per variant, with the uncertainty that comes from the choice of images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treg_exp.metrics.column import Column
from treg_exp.reports.bootstrap import choices
from treg_exp.reports.calibration import summarise_calibration
from treg_exp.reports.columns import POSTERIOR
from treg_exp.reports.rows import columns_of
from treg_exp.run_layout import IDENTITY, KEY, Row

MOST_HELD = 2**22  # means of images held at once, 32 MB and their counts; columns beyond that are read afterwards
NOT_NUMBERS = {*KEY, "draws"}  # of what belongs to all draws of an image


def summarise(
    rows: Iterable[Row], known: Mapping[str, Column] | None = None, posterior: Sequence[Row] = ()
) -> dict[str, Any]:
    """Statistics of a run, ready for ``summary.json``.

    Args:
        rows: one per restoration; read several times, and no list is made of them.
        known: columns of the run by name, in order; others follow them.
        posterior: one per image and variant, with numbers of all its draws, see ``write_posterior``. They never enter
            a mean with those of single draws: their columns have other names.

    Returns:
        ``{"restorations": N, "samples": S, "variants": {name: {"restorations": ..., "samples": ...,
        "draws": N, "metrics": {column: {"mean": ..., "low": ..., "high": ..., "n": ...}}}}}``. Numbers of single draws
        are averaged over those of an image (``draws``: the most that one has) before all else. ``n`` counts the images
        that have the number; ``low`` and ``high`` bound the mean with 95 % confidence (None below 2 images). Of a
        column whose `Column.summary` is ``max``, ``mean`` is the largest number, without bounds; one of ``none`` and
        one without any number are left out.
    """
    how = {name: column.summary for name, column in (known or {}).items()}
    apart = {*POSTERIOR, *IDENTITY, *(name for name, kind in how.items() if kind == "none")}
    present, samples, order = set[str](), set[str](), dict[str, None]()
    for row in rows:
        present.update(row)
        samples.add(row["sample_id"])
        order[row["variant"]] = None
    names = [name for name in columns_of(present, how) if name not in apart]
    of_draws = [name for name in dict.fromkeys(n for row in posterior for n in row) if name not in NOT_NUMBERS]
    images = {sample_id: i for i, sample_id in enumerate(sorted(samples))}
    variants = {variant: i for i, variant in enumerate(order)}
    counts = np.zeros((len(variants), len(images)), dtype=np.int64)
    for row in rows:
        counts[variants[row["variant"]], images[row["sample_id"]]] += 1
    found: dict[str, dict[str, Any]] = {variant: {} for variant in variants}
    at_once = max(1, MOST_HELD // max(1, counts.size))
    for start in range(0, len(names), at_once):
        part = names[start : start + at_once]
        means, largest = _image_means(rows, part, variants, images)
        for (variant, i), (k, name) in product(variants.items(), enumerate(part)):
            if len(values := means[i, k][~np.isnan(means[i, k])]):
                most = {"mean": float(largest[i, k]), "low": None, "high": None, "n": len(values)}
                found[variant][name] = most if how.get(name) == "max" else statistics(values)
    for variant in variants:
        own = [row for row in posterior if row["variant"] == variant]
        found[variant] |= {name: statistics(values) for name in of_draws if (values := per_image(own, name))}
        found[variant] |= summarise_calibration(own)
    return {
        "restorations": int(counts.sum()),
        "samples": len(images),
        "variants": {
            variant: {
                "restorations": int(counts[i].sum()),
                "samples": int((counts[i] > 0).sum()),
                "draws": int(counts[i].max(initial=0)),
                "metrics": found[variant],
            }
            for variant, i in variants.items()
        },
    }


def _image_means(
    rows: Iterable[Row], names: Sequence[str], variants: Mapping[str, int], images: Mapping[str, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over the draws of every image, (variants, names, images), NaN where none has the number; and the largest."""
    sums = np.zeros((len(variants), len(names), len(images)))
    counts = np.zeros(sums.shape, dtype=np.int64)
    largest = np.full(sums.shape[:2], -np.inf)
    for row in rows:
        i, image = variants[row["variant"]], images[row["sample_id"]]
        for k, name in enumerate(names):
            value = row.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                sums[i, k, image] += value
                counts[i, k, image] += 1
                largest[i, k] = max(largest[i, k], value)
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = sums / counts
    return means, largest


def per_image(rows: Sequence[Row], name: str) -> list[float]:
    """One number per image, ordered by sample_id: the mean over its draws (no independent images)."""
    return list(by_image(rows, name).values())


def by_image(rows: Sequence[Row], name: str) -> dict[str, float]:
    """The same by sample_id, for comparisons of the same images."""
    if name in IDENTITY:
        return {}
    values = defaultdict(list)
    for row in rows:
        value = row.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            values[row["sample_id"]].append(float(value))
    return {sample_id: sum(values[sample_id]) / len(values[sample_id]) for sample_id in sorted(values)}


def paired(rows: Sequence[Row], others: Sequence[Row], name: str) -> dict[str, float | int | None] | None:
    """Statistics of the difference rows - others, image by image; None where no image has both numbers.

    Two settings on the same images differ by much less than either varies from image to image: the interval of
    the difference is the one that tells them apart.
    """
    own, other = by_image(rows, name), by_image(others, name)
    differences = [own[sample_id] - other[sample_id] for sample_id in own if sample_id in other]
    return statistics(differences) if differences else None


def statistics(values: Sequence[float] | NDArray[np.float64]) -> dict[str, float | int | None]:
    """Mean, 95 % interval of the mean and number of values."""
    low, high = interval(values)
    return {"mean": float(np.mean(values)), "low": low, "high": high, "n": len(values)}


def interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Percentile bootstrap interval of the mean (2000 resamples, fixed seed), (None, None) below 2 values.

    The seed is the same for every variant and column: with the same images they are resampled together.
    """
    if len(values) < 2:
        return None, None
    array = np.asarray(values)
    means = np.concatenate([array[chosen].mean(axis=1) for chosen in choices(len(array))])
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
