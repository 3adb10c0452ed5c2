"""Learning rates, parts of a batch, number formats."""

from __future__ import annotations

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.priors.precision import has_fast_bf16
from treg_exp.training.budget import Budget, Schedule
from treg_exp.training.fit import _precision
from treg_exp.training.sharing import Sharing


def test_rate_warms_up_stays_and_falls_to_zero() -> None:
    schedule = Schedule(warmup_steps=100, decay_fraction=0.3)
    factors = [schedule.factor(step, step / 1000) for step in (0, 99, 700, 850, 1000)]
    assert factors == pytest.approx([0.01, 1.0, 1.0, 0.5, 0.0])


def test_the_nearer_of_two_ends_counts() -> None:
    assert Budget(minutes=1000.0, steps=10).progress(5) == 0.5
    assert Budget(minutes=1000.0).progress(5) == 0.0
    assert Budget(steps=10).progress(12) == 1.0


def test_a_rate_can_stay_and_can_fall_from_the_start() -> None:
    stays, falls = Schedule(warmup_steps=1, decay_fraction=0.0), Schedule(warmup_steps=1, decay_fraction=1.0)
    assert [stays.factor(step, step / 4) for step in range(5)] == [1.0] * 5
    assert [falls.factor(step, step / 4) for step in (0, 2, 4)] == pytest.approx([1.0, 0.5, 0.0])


def test_pictures_are_counted_over_batches_of_several_sizes() -> None:
    first = Budget(pictures=100, batch_size=10)
    assert first.progress(4) == pytest.approx(0.4)
    first._counted, first._counted_at = first.pictures_at(4), 4
    later = Budget(pictures=100, batch_size=20)
    later.load_state_dict(first.state_dict())
    assert [later.pictures_at(step) for step in (4, 5, 7)] == [40, 60, 100]
    assert later.progress(7) == 1.0
    with pytest.raises(FieldError, match="batch_size=null"):
        Budget(pictures=100)


@pytest.mark.parametrize(
    ("batch", "workers", "part_size", "parts"), [(64, 2, 16, 4), (64, 2, None, 2), (50, 2, 16, 10), (8, 2, 16, 2)]
)
def test_parts_are_equal_small_enough_and_the_same_number_for_every_worker(
    batch: int, workers: int, part_size: int | None, parts: int
) -> None:
    assert Sharing(batch, workers, part_size).parts == parts


def test_parts_of_whatever_a_loader_yields() -> None:
    sharing, rows = Sharing(4, 2), torch.arange(8).view(4, 2)
    assert torch.equal(sharing.part(rows, 1), rows[2:])
    assert torch.equal(sharing.part({"x": (rows, rows)}, 0)["x"][1], rows[:2])
    with pytest.raises(TypeError, match="str"):
        sharing.part("text", 0)


def test_a_batch_that_does_not_divide_between_workers_is_refused() -> None:
    with pytest.raises(FieldError, match="workers=3"):
        Sharing(8, workers=3)


def test_bf16_is_used_only_where_asked_for_or_supported() -> None:
    assert _precision("bf16", "cpu") == "bf16-mixed"
    assert _precision("fp32", "cpu") == "32-true"
    assert _precision("16-mixed", "gpu") == "16-mixed"
    assert (_precision("auto", "cpu") == "bf16-mixed") == has_fast_bf16(torch.device("cpu"))
