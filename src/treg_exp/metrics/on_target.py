"""What another metric says of the true signal: the best that a restoration can be expected to get."""

from __future__ import annotations

from dataclasses import replace

from treg_exp.errors import FieldError
from treg_exp.metrics.base import Metric, MetricInput, Values
from treg_exp.metrics.column import TARGET


class OnTarget(Metric):
    """The columns of a metric, called ``target_<column>``, of the target instead of the restoration; None without one.

    Args:
        metric: which one.

    Raises:
        FieldError: it compares with the target itself.
    """

    def __init__(self, metric: Metric) -> None:
        if isinstance(metric, OnTarget):
            raise FieldError("metric", "OnTarget", "give the metric itself")
        self.metric = metric
        self.columns = {
            f"{TARGET}{name}": replace(
                column, label=f"target\n{column.line}", higher_is_better=None, in_table="never", below_pictures=False
            )
            for name, column in metric.columns.items()
        }

    def caution(self, prior: str) -> str:
        """See ``Metric``."""
        return self.metric.caution(prior)

    def judges(self, inp: MetricInput) -> bool:
        """See ``Metric``."""
        return self.metric.judges(inp)

    def __call__(self, inp: MetricInput) -> Values:
        """See :class:`~treg_exp.metrics.base.Metric`."""
        if inp.target is None:
            return {name: [None] * len(inp.signal) for name in self.columns}
        values = self.metric(replace(inp, signal=inp.target, extras={}))
        return {f"{TARGET}{name}": found for name, found in values.items()}
