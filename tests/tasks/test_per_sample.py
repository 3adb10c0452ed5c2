"""A run with several tasks: the data names each sample's task, and batches never mix them."""

from __future__ import annotations

import pytest
import torch

from tests.operators.tasks import load_task
from treg_exp.data.sample import Sample
from treg_exp.errors import FieldError
from treg_exp.tasks.base import GroupedTask, group_of
from treg_exp.tasks.per_sample import TaskPerSample

CPU = torch.device("cpu")
SHAPE = (3, 32, 32)
TASK = TaskPerSample({"colour": load_task("colourisation"), "detail": load_task("sr_x16")}, name="both")


def sample(name: str, task: str) -> Sample:
    return Sample(name, torch.zeros(SHAPE), captions={"task": task} if task else {})


def test_each_group_gets_the_problem_of_its_task() -> None:
    assert TASK.pose([sample("a", "colour")], SHAPE, CPU).y.shape == (1, 1, 32, 32)
    assert TASK.pose([sample("a", "detail"), sample("b", "detail")], SHAPE, CPU).y.shape == (2, 3, 2, 2)
    assert TASK.title == "both: colourisation, sr_x16"


def test_a_measurement_is_that_of_its_task_alone() -> None:
    alone = load_task("sr_x16").pose([sample("a", "")], SHAPE, CPU)
    assert torch.equal(TASK.pose([sample("a", "detail")], SHAPE, CPU).y, alone.y)


@pytest.mark.parametrize("asked", ["colours", ""])
def test_a_task_that_nobody_has_is_named(asked: str) -> None:
    with pytest.raises(FieldError, match=r"one of colour, detail, and one (names 'colours'|has none)"):
        TASK.group({"task": asked})


def test_a_mixed_batch_is_refused() -> None:
    with pytest.raises(FieldError, match="colour, detail"):
        TASK.pose([sample("a", "colour"), sample("b", "detail")], SHAPE, CPU)


def test_what_a_task_refuses_is_told_with_its_name() -> None:
    with pytest.raises(FieldError, match=r"^tasks\.detail\.operator\.factor="):
        TASK.pose([Sample("a", torch.zeros(3, 20, 20), captions={"task": "detail"})], (3, 20, 20), CPU)


def test_other_tasks_have_one_group() -> None:
    assert isinstance(TASK, GroupedTask)
    assert group_of(TASK, {"task": "detail"}) == "detail"
    assert group_of(load_task("sr_x16"), {"task": "detail"}) == ""


def test_there_must_be_a_task() -> None:
    with pytest.raises(FieldError, match="at least one task"):
        TaskPerSample({})
