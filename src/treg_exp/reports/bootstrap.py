"""Percentile bootstrap over images: 2000 resamples with a fixed seed, so what has the same images varies together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

RESAMPLES = 2000
MOST_DRAWN = 2**21  # numbers drawn at once, 16 MB: bounds the memory on large data sets, and changes no result
SEED = 0

Estimate = dict[str, float | int | None]  # mean, low, high, n


def choices(count: int) -> Iterator[Any]:
    """Positions of all resamples of so many images, (some, count) at a time."""
    rng, left = np.random.default_rng(SEED), RESAMPLES
    at_once = min(RESAMPLES, max(1, MOST_DRAWN // count))
    while left:
        some = min(at_once, left)
        yield rng.integers(0, count, (some, count))
        left -= some


def resampled(estimate: Callable[[Any], Any], count: int) -> Estimate:
    """An estimate from images, and its 95 % interval.

    Args:
        estimate: takes positions of images (..., count) and gives (...).
        count: number of images.

    Returns:
        ``mean`` (the estimate itself), ``low`` and ``high`` (None below 2 images), and ``n``.
    """
    value = float(estimate(np.arange(count)))
    if count < 2:
        return {"mean": value, "low": None, "high": None, "n": count}
    drawn = np.concatenate([estimate(chosen) for chosen in choices(count)])
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"mean": value, "low": float(low), "high": float(high), "n": count}
