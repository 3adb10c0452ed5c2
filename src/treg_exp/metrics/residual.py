"""Consistency with the measurement: does A(x) explain y up to the noise?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from treg_exp.metrics.base import Metric, MetricInput, Values, per_sample
from treg_exp.metrics.column import Column
from treg_exp.operators.discrepancy import rmse
from treg_exp.solvers.base import BEFORE_PROJECTION
from treg_exp.tasks.problems import InverseProblem


def residual(signal: Tensor, problem: InverseProblem) -> Tensor:
    """RMSE(y - A x) / sigma per sample, (B,), over the measured entries; the plain RMSE where sigma is 0.

    About 1 means that the image explains the measurement up to its noise; far below 1, that it also explains
    the noise. The image is clamped to [-1, 1] first: this judges the picture that the user gets, and a solver
    that leaves the range to fit y does not profit.

    Args:
        signal: (B, *signal_shape) in [-1, 1] units.
        problem: y (B, ...) in the units of the operator's output (images in [-1, 1]) and its sigma.
    """
    found = rmse(problem.operator, problem.y, signal.clamp(-1, 1))
    return found / problem.sigma if problem.sigma > 0 else found


class Residual(Metric):
    """See :func:`residual`; None where nothing is measured, and before a last projection where there was none."""

    columns: Mapping[str, Column] = {
        "residual": Column(
            "residual",
            higher_is_better=False,
            below_pictures=True,
            note="residual: RMSE(y - Ax) / sigma, 1 = as close as the noise allows (RMSE where sigma is 0).",
        ),
        "residual_before": Column(
            "residual\nbefore",
            higher_is_better=False,
            note="residual before: the same before the last projection onto the measurement.",
        ),
    }
    media = None
    problems: ClassVar[tuple[type, ...]] = (InverseProblem,)
    stacked = True

    def __call__(self, inp: MetricInput) -> Values:
        """See :class:`~treg_exp.metrics.base.Metric`."""
        assert isinstance(inp.problem, InverseProblem)
        signals: dict[str, Tensor | None] = {
            "residual": inp.signal,
            "residual_before": inp.extras.get(BEFORE_PROJECTION),
        }
        known = {name: x for name, x in signals.items() if x is not None and inp.problem.measured}
        values = {name: residual(x, inp.problem) for name, x in known.items()}
        return {name: per_sample(values.get(name), len(inp.signal)) for name in signals}
