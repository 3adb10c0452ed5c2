"""Which of several tries a solver kept, and the score that decided."""

from __future__ import annotations

from collections.abc import Mapping

from treg_exp.metrics.base import Metric, MetricInput, Values, per_sample
from treg_exp.metrics.column import Column
from treg_exp.solvers.best_of import CHOSEN, CHOSEN_SCORE


class Candidate(Metric):
    """Number of the try, from 0, and its score; None for solvers that try once. See ``solvers/best_of.py``."""

    columns: Mapping[str, Column] = {
        CHOSEN: Column("try", digits=0, in_table="never"),
        CHOSEN_SCORE: Column("score\nof try", higher_is_better=True, optimised=True),
    }

    def __call__(self, inp: MetricInput) -> Values:
        """See :class:`~treg_exp.metrics.base.Metric`."""
        return {name: per_sample(inp.extras.get(name), len(inp.signal)) for name in self.columns}
