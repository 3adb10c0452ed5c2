"""Means of the columns of many rows, which may come batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any


class Means:
    """Means per variant and column, over the rows that have a finite number there.

    Args:
        rows: the first ones.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self.rows = 0
        self.values: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self.add(rows)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take further rows in; ``values`` has the means of all, as ``<variant>/<column>``."""
        for row in rows:
            self.rows += 1
            for column, value in row.items():
                if isinstance(value, float) and math.isfinite(value):
                    name = f"{row['variant']}/{column}"
                    self._counts[name] = count = self._counts.get(name, 0) + 1
                    mean = self.values.get(name, 0.0)
                    self.values[name] = mean + (value - mean) / count


def mean_of(rows: Iterable[Mapping[str, Any]], column: str) -> float | None:
    """The mean of a column over the rows that have a value; None where none has."""
    total, count = 0.0, 0
    for row in rows:
        if (value := row.get(column)) is not None:
            total, count = total + value, count + 1
    return total / count if count else None
