from __future__ import annotations

import math

import pytest

from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.ratios import level_of_ratio
from treg_exp.schedule.sigma import Karras

TABLE = DiffusersFolder(path="emoji64").info.schedule


def test_a_table_is_met_at_its_entries_and_crossed_between_them() -> None:
    for t in (0, 50, 500, 999):
        level = TABLE.level(t)
        found = level_of_ratio(TABLE, level.sigma / level.alpha)
        assert found.t == pytest.approx(t, abs=1e-3)
        assert (found.alpha, found.sigma) == pytest.approx((level.alpha, level.sigma), rel=1e-6)
    low, high = (TABLE.level(t).sigma / TABLE.level(t).alpha for t in (300, 301))
    assert 300 < level_of_ratio(TABLE, math.sqrt(low * high)).t < 301


def test_the_continuous_time_is_that_of_the_table_within_some_steps() -> None:
    """Largest difference over the levels that DAPS visits: 2.4 timesteps."""
    ratios = [0.05 * 1.1**k for k in range(56)]
    differences = [level_of_ratio(TABLE, r, "continuous").t - level_of_ratio(TABLE, r).t for r in ratios]
    assert max(map(abs, differences)) < 2.5


@pytest.mark.parametrize("schedule", [Flow(), Karras(), TABLE])
@pytest.mark.parametrize("ratio", [0.1, 1.0, 7.0])
def test_every_family_has_the_ratio(schedule: object, ratio: float) -> None:
    level = level_of_ratio(schedule, ratio)
    assert level.sigma / level.alpha == pytest.approx(ratio)
    if not isinstance(schedule, type(TABLE)):
        assert schedule.level(level.t).sigma == pytest.approx(level.sigma)


@pytest.mark.parametrize("schedule", [Flow(), Karras(), TABLE])
def test_the_clean_end(schedule: object) -> None:
    level = level_of_ratio(schedule, 0.0)
    assert (level.alpha, level.sigma) == (1.0, 0.0)
