"""Columns about the true signal, and numbers of the data."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.metrics.base import Metric, MetricInput, Values, evaluate
from treg_exp.metrics.column import Column
from treg_exp.metrics.data_numbers import DataNumbers
from treg_exp.metrics.on_target import OnTarget
from treg_exp.tasks.problems import EditProblem


class Brightness(Metric):
    columns: Mapping[str, Column] = {"bright": Column("bright")}

    def __call__(self, inp: MetricInput) -> Values:
        return {"bright": inp.signal.mean(dim=(1, 2, 3)).tolist()}


class PSNRLike(Brightness):
    columns: Mapping[str, Column] = {"bright": Column("bright", higher_is_better=True)}


def an_input(target, texts=({}, {})) -> MetricInput:
    signal = torch.zeros(2, 3, 4, 4)
    return MetricInput(signal, target, EditProblem(signal, None), None, texts)  # type: ignore[arg-type]


def test_it_judges_the_target() -> None:
    target = torch.full((2, 3, 4, 4), 0.5)
    rows = evaluate({"a": Brightness(), "b": OnTarget(Brightness())}, an_input(target))
    assert rows[0] == {"bright": 0.0, "target_bright": 0.5}
    assert evaluate({"b": OnTarget(Brightness())}, an_input(None))[1] == {"target_bright": None}
    assert OnTarget(Brightness()).columns["target_bright"].in_table == "never"
    assert OnTarget(PSNRLike()).columns["target_bright"].higher_is_better is None, "the same for every method"
    with pytest.raises(FieldError, match="metric"):
        OnTarget(OnTarget(Brightness()))


def test_numbers_of_the_data_become_columns() -> None:
    metric = DataNumbers(["group", "apart"])
    rows = evaluate({"n": metric}, an_input(None, ({"group": "3", "apart": "1.5"}, {"group": "none"})))
    assert rows == [{"group": 3.0, "apart": 1.5}, {"group": None, "apart": None}]
    with pytest.raises(FieldError, match="roles"):
        DataNumbers("group")
