"""Metrics that fail, on one restoration or on all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from treg_exp.engine.judging import GIVE_UP, Judges
from treg_exp.errors import RunFailedError
from treg_exp.metrics.base import Metric, MetricInput, Values
from treg_exp.metrics.column import Column
from treg_exp.tasks.problems import EditProblem


class Mean(Metric):
    """The mean of a signal; fails where a condition holds of one in the batch, as most metrics would."""

    def __init__(self, fails: Callable[[float], bool] = lambda mean: False, name: str = "mean") -> None:
        self.fails, self.columns, self.calls = fails, {name: Column(name)}, 0

    def __call__(self, inp: MetricInput) -> Values:
        self.calls += 1
        means = [round(10 * mean, 3) for mean in inp.signal.flatten(1).mean(1).tolist()]
        if any(map(self.fails, means)):
            raise ValueError("of no\nuse")
        return dict.fromkeys(self.columns, means)


def batch(*means: float) -> MetricInput:
    signal = torch.tensor(means).view(-1, 1, 1, 1).expand(-1, 3, 4, 4) / 10
    extras = {"of_each": torch.tensor(means), "nothing": None}
    return MetricInput(signal, signal, EditProblem(signal), None, [{}] * len(means), extras=extras)  # type: ignore[arg-type]


def test_only_the_restoration_that_a_metric_fails_on_is_lost() -> None:
    judges = Judges({"good": Mean(name="good"), "bad": Mean(lambda mean: mean == 2.0)})
    rows = judges(batch(1.0, 2.0, 3.0))
    error = {"error": "metrics.bad: ValueError: of no use"}
    assert rows == [{"good": 1.0, "mean": 1.0}, error, {"good": 3.0, "mean": 3.0}]


def test_a_batch_without_failures_is_judged_at_once() -> None:
    metric = Mean()
    Judges({"mean": metric})(batch(1.0, 2.0, 3.0))
    assert metric.calls == 1


def test_a_metric_that_has_never_worked_ends_the_run() -> None:
    judges = Judges({"bad": Mean(lambda mean: True)})
    for _ in range(GIVE_UP - 1):
        assert "error" in judges(batch(0.0))[0]
    with pytest.raises(RunFailedError, match=rf"^metrics\.bad: ValueError: of no use; it has failed on all {GIVE_UP} "):
        judges(batch(0.0))


def test_a_range_mistake_is_named() -> None:
    (row,) = Judges({"mean": Mean()})(batch(20.0))
    assert row == {"error": "metrics.mean: FieldError: signal=goes from 2 to 2: metrics take signals in [-1, 1]"}


def test_one_that_has_worked_once_goes_on() -> None:
    judges = Judges({"bad": Mean(lambda mean: mean != 1.0)})
    assert "error" not in judges(batch(1.0))[0]
    for _ in range(2 * GIVE_UP):
        assert "error" in judges(batch(0.0))[0]


def test_a_metric_with_too_few_values_is_one_that_fails() -> None:
    class Short(Mean):
        def __call__(self, inp: MetricInput) -> Values:
            return {"mean": [0.0] * (len(inp.signal) - 1)}

    (row,) = Judges({"short": Short()})(batch(1.0))
    assert row == {"error": "metrics.short: ValueError: mean: 0 values for 1 restorations"}


def test_memory_that_is_too_small_is_no_fault_of_a_metric() -> None:
    class Big(Mean):
        def __call__(self, inp: MetricInput) -> Values:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RuntimeError, match="allocate"):
        Judges({"big": Big()})(batch(1.0, 2.0))
