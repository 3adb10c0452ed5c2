from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from treg_exp.priors.info import load_schedule
from treg_exp.schedule import Point, Schedule, Step

from .conftest import DATA


@pytest.fixture(scope="module")
def schedule() -> Schedule:
    return load_schedule(DATA / "parity" / "tiny_model" / "scheduler" / "scheduler_config.json")


def test_stable_diffusion_steps(schedule: Schedule) -> None:
    """Figures measured on the released code (shifted table): 996 ... 1, ending at 0.99915."""
    steps = schedule.steps(200, alpha_shift=1)
    assert [s.t for s in steps[:2]] == [996, 991]
    assert steps[-1].t == 1
    assert steps[-1].alpha_bar_prev == pytest.approx(0.99915, abs=1e-5)
    by_t = {s.t: s.alpha_bar for s in steps}
    expected = {996: 0.005, 846: 0.024, 696: 0.086, 546: 0.220, 396: 0.433, 246: 0.682, 156: 0.821}
    assert {t: round(by_t[t], 3) for t in expected} == expected


@pytest.mark.parametrize("count", [1, 3, 7, 50, 333, 999])
def test_steps_are_chained_and_fall(schedule: Schedule, count: int) -> None:
    steps = schedule.steps(count)
    assert [s.index for s in steps] == list(range(count))
    for now, following in pairwise(steps):
        assert now.alpha_bar_prev == following.alpha_bar
        assert now.alpha_bar < now.alpha_bar_prev


def test_timesteps_agree_with_diffusers(schedule: Schedule) -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler.from_pretrained(DATA / "parity" / "tiny_model" / "scheduler")
    for count in (4, 20, 50, 200):
        scheduler.set_timesteps(count)
        assert schedule.timesteps(count) == scheduler.timesteps.tolist()


def test_ddim_agrees_with_diffusers(schedule: Schedule) -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler.from_pretrained(DATA / "parity" / "tiny_model" / "scheduler")
    scheduler.set_timesteps(50)
    z, eps = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for step in schedule.steps(50):
        expected = scheduler.step(eps, step.t, z).prev_sample
        z = step.ddim(step.tweedie(z, eps), eps)
        torch.testing.assert_close(z, expected, rtol=1e-4, atol=1e-4)


def test_shifted_table_of_the_released_code(schedule: Schedule) -> None:
    plain, shifted = schedule.steps(200), schedule.steps(200, alpha_shift=1)
    assert [s.t for s in plain] == [s.t for s in shifted]
    assert shifted[0].alpha_bar == schedule.alphas_cumprod[995]
    assert shifted[-1].alpha_bar == schedule.alphas_cumprod[0]
    assert shifted[-1].alpha_bar_prev == schedule.final_alpha


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_every_prediction_gives_the_same_noise(prediction: str) -> None:
    point = Point(500, 0.3)
    z_0, eps = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)).double()
    a, s = math.sqrt(0.3), math.sqrt(0.7)
    output = {"epsilon": eps, "v_prediction": a * eps - s * z_0, "sample": z_0}[prediction]
    z_t = a * z_0 + s * eps
    torch.testing.assert_close(point.eps(output, z_t, prediction), eps)
    torch.testing.assert_close(point.tweedie(z_t, eps), z_0)


def test_renoising_keeps_the_noise_variance() -> None:
    step = Step(500, 0.3, 0, 0.4)
    eps, noise = torch.randn(2, 200_000, generator=torch.Generator().manual_seed(2))
    z = step.renoise(torch.zeros(200_000), eps, noise)
    assert z.var() == pytest.approx(1 - 0.4, rel=0.02)


@pytest.mark.parametrize("steps", [0, -1, 1000])
def test_impossible_numbers_of_steps(schedule: Schedule, steps: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 999"):
        schedule.steps(steps)
