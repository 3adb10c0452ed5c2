"""Metrics that fail: on one restoration, or always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from treg_exp.configuration.places import one_line
from treg_exp.engine.recovery import is_out_of_memory
from treg_exp.errors import RunFailedError
from treg_exp.metrics.base import Metric, MetricInput, evaluate

GIVE_UP = 10  # restorations, from the first one on, that a metric fails on: then it is the metric, and not they


class Judges:
    """The metrics of a run. A restoration that one of them fails on is a failed one, and says why.

    It is not kept without that value: an empty cell means that a metric does not apply, and a mean over other
    restorations than those of the next column compares nothing. The others go on, for one strange sample is no reason
    to lose a night. A metric that has never worked ends the run in one line, before a night is lost to it.

    Args:
        metrics: by name.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = dict(metrics)
        self._worked: set[str] = set()
        self._failed: Counter[str] = Counter()

    def __call__(self, inp: MetricInput) -> list[dict[str, Any]]:
        """One mapping of columns to values per restoration; of those that a metric fails on only ``error``.

        Raises:
            RunFailedError: a metric has failed on everything so far.
            RuntimeError: out of memory.
        """
        rows: list[dict[str, Any]] = [{} for _ in inp.signal]
        for name, metric in self.metrics.items():
            for i, found in enumerate(self._of(name, metric, inp)):
                if "error" not in rows[i]:
                    rows[i] = found if "error" in found else rows[i] | found
        return rows

    def _of(self, name: str, metric: Metric, inp: MetricInput) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = evaluate({name: metric}, inp)
        except Exception as error:
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            if len(inp.signal) == 1:
                return [self._failure(name, error)]
        else:
            self._worked.add(name)
            return found
        # Which of them it is, only each alone can tell.
        return [row for i in range(len(inp.signal)) for row in self._of(name, metric, inp.alone(i))]

    def _failure(self, name: str, error: Exception) -> dict[str, Any]:
        told = f"metrics.{name}: {type(error).__name__}: {one_line(error)}"
        self._failed[name] += 1
        if name not in self._worked and self._failed[name] >= GIVE_UP:
            raise RunFailedError(
                f"{told}; it has failed on all {GIVE_UP} restorations so far, so the run ends"
            ) from error
        return {"error": told}
