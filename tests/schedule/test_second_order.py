"""The order of the moves, on a problem whose exact solution is known."""

from __future__ import annotations

import math

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.schedule.levels import Level, Move, Prediction
from treg_exp.schedule.second_order import Estimate, check_order, extrapolated
from treg_exp.schedule.sigma import Karras
from treg_exp.schedule.variance_preserving import VariancePreserving

STD = 0.5  # of Gaussian data: the best estimate is linear, and the flow scales z_t by the ratio of its deviations
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
SCHEDULES = {
    "vp": VariancePreserving((1 - BETAS).cumprod(0).tolist(), 1.0, spacing="trailing"),
    "karras": Karras(),
}


def deviation(level: Level) -> float:
    return math.sqrt((level.alpha * STD) ** 2 + level.sigma**2)


def predicted(z_t: torch.Tensor, level: Level) -> Prediction:
    z_0 = level.alpha * STD**2 / deviation(level) ** 2 * z_t
    return Prediction(z_0, level.noise_in(z_t, z_0))


def error(schedule, steps: int, order: int) -> float:
    """Relative error half-way, at a level that hardly depends on the number of steps."""
    moves = schedule.moves(steps, (4, 8, 8))
    z_t, last = torch.tensor([deviation(moves[0].now)], dtype=torch.float64), None
    for move in moves[: steps // 2]:
        at = predicted(z_t, move.now)
        z_t = move(extrapolated(move, at, last))
        last = Estimate(move.now, at.z_0) if order == 2 else None
    return abs(z_t.item() / deviation(moves[steps // 2].now) - 1)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_error_falls_with_the_square_of_the_steps(name: str) -> None:
    schedule = SCHEDULES[name]
    for order in (1, 2):
        rates = [math.log2(error(schedule, n, order) / error(schedule, 2 * n, order)) for n in (50, 100)]
        assert rates == pytest.approx([order, order], abs=0.35)


@pytest.mark.parametrize("name", SCHEDULES)
def test_24_steps_of_second_order_are_nearer_than_50_of_first(name: str) -> None:
    assert error(SCHEDULES[name], 24, 2) < error(SCHEDULES[name], 50, 1)


def test_the_noise_belongs_to_the_estimate() -> None:
    move = Move(1, Level(500, 0.6, 0.8), Level(400, 0.8, 0.6))
    z_t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    at = predicted(z_t, move.now)
    ahead = extrapolated(move, at, Estimate(Level(600, 0.5, 0.75**0.5), 0.9 * at.z_0))
    torch.testing.assert_close(move.now.noisy(ahead.z_0, ahead.eps), z_t)
    ratio = math.log(0.8 / 0.6 / (0.6 / 0.8)) / math.log(0.6 / 0.8 / (0.5 / 0.75**0.5))
    torch.testing.assert_close(ahead.z_0, at.z_0 * (1 + 0.1 * ratio / 2))


def test_the_ends_are_of_first_order() -> None:
    at = Prediction(torch.ones(1), torch.ones(1))
    clean = Move(1, Level(1, 0.9, 0.4), Level(-1, 1.0, 0.0))
    first = Move(1, Level(900, 0.1, 0.99), Level(800, 0.2, 0.97))
    noise = Estimate(Level(999, 0.0, 1.0), torch.zeros(1))
    assert extrapolated(clean, at, Estimate(Level(2, 0.8, 0.6), torch.zeros(1))) is at
    assert extrapolated(first, at, noise) is at
    assert extrapolated(first, at, None) is at


def test_wrong_orders_are_refused() -> None:
    with pytest.raises(FieldError, match=r"^order=3: must be 1 \(DDIM\) or 2"):
        check_order(3)
