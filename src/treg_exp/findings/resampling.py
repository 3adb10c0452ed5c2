"""Intervals of means over images, with what was repeated for an image nested in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

RESAMPLES = 2000
SEED = 0
MOST_AT_ONCE = 2**22  # weights drawn at once, 16 MB: bounds the memory on large data sets, and changes no result
MOST_KEPT = 2**23  # weights kept for the next number of the same images, 32 MB

Array = np.ndarray[Any, np.dtype[np.float64]]
Weights = np.ndarray[Any, np.dtype[np.float32]]
#: A number by image, and by (seed, draw) within an image.
Repeated = dict[str, dict[tuple[str, int], float]]


def statistics(values: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Mean over images, its 95 % interval and the number of images.

    Args:
        values: per image, the numbers of its seeds and draws; at least one image, at least one number each.
    """
    low, high = interval(values)
    return {"mean": float(np.mean(per_image(values))), "low": low, "high": high, "n": len(values)}


def per_image(values: Sequence[Sequence[float]]) -> Array:
    """Means of the repetitions of every image, (N,)."""
    return np.array([sum(own) / len(own) for own in values], dtype=np.float64)


def interval(values: Sequence[Sequence[float]]) -> tuple[float | None, float | None]:
    """Two-level percentile bootstrap interval of the mean: images, then the repetitions within each.

    Images are what is drawn at random, so repetitions narrow it only as far as they vary within an image. Without
    repetitions it is the plain bootstrap over images. The seed is fixed: with the same images all numbers are
    resampled together.

    Args:
        values: see `statistics`.

    Returns:
        Its ends, with 2000 resamples; (None, None) below 2 images.
    """
    if len(values) < 2:
        return None, None
    counts = tuple(len(own) for own in values)
    numbers = np.array([value for own in values for value in own], dtype=np.float64)
    centre = float(np.mean(per_image(values)))
    centred = (numbers - centre).astype(np.float32)
    if len(numbers) * RESAMPLES <= MOST_KEPT:
        means = _kept(counts) @ centred
    else:
        means = np.concatenate([part @ centred for part in _weights(counts)])
    low, high = np.percentile(means.astype(np.float64), [2.5, 97.5])
    return centre + float(low), centre + float(high)


@lru_cache(maxsize=4)
def _kept(counts: tuple[int, ...]) -> Weights:
    return np.concatenate(list(_weights(counts)))


def _weights(counts: tuple[int, ...]) -> Any:
    """Parts of the matrix (2000, numbers) that takes the numbers to the means of the resamples."""
    sizes = np.array(counts)
    n, total, rng = len(sizes), int(sizes.sum()), np.random.default_rng(SEED)
    starts = np.cumsum(sizes) - sizes
    at_once = min(RESAMPLES, max(1, MOST_AT_ONCE // total))
    for start in range(0, RESAMPLES, at_once):
        rows = min(at_once, RESAMPLES - start)
        images = rng.integers(0, n, (rows, n))
        found = np.zeros((rows, total), dtype=np.float32)
        row = np.broadcast_to(np.arange(rows)[:, None], images.shape)
        if total == n:
            np.add.at(found, (row, images), np.float32(1 / n))
            yield found
            continue
        for turn in range(int(sizes.max())):  # the turn-th repetition that is drawn for every drawn image
            own = sizes[images]
            taken = turn < own
            chosen = starts[images] + (rng.random(images.shape) * own).astype(np.int64)
            np.add.at(found, (row[taken], chosen[taken]), (1 / (n * own[taken])).astype(np.float32))
        yield found
