"""Tables and spacings of diffusers."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, LCMScheduler

from tests.conftest import DATA
from treg_exp.errors import FieldError
from treg_exp.priors.families.schedules import variance_preserving
from treg_exp.schedule.levels import Prediction
from treg_exp.schedule.variance_preserving import VariancePreserving

TINY = DATA / "parity" / "tiny_model"


@pytest.fixture(scope="module")
def schedule() -> VariancePreserving:
    return variance_preserving(TINY)[0]


def test_stable_diffusion_steps(schedule: VariancePreserving) -> None:
    """Figures measured on the released code (shifted table): 996 ... 1, ending at 0.99915."""
    moves = schedule.shifted(1).moves(200)
    assert [move.now.t for move in moves[:2]] == [996, 991]
    assert moves[-1].now.t == 1
    assert moves[-1].next.alpha ** 2 == pytest.approx(0.99915, abs=1e-5)
    by_t = {move.now.t: move.now.alpha**2 for move in moves}
    expected = {996: 0.005, 846: 0.024, 696: 0.086, 546: 0.220, 396: 0.433, 246: 0.682, 156: 0.821}
    assert {t: round(by_t[t], 3) for t in expected} == expected


@pytest.mark.parametrize("count", [1, 3, 7, 50, 333, 999])
def test_moves_are_chained_and_fall(schedule: VariancePreserving, count: int) -> None:
    moves = schedule.moves(count)
    assert [move.index for move in moves] == list(range(count))
    for first, second in pairwise(moves):
        assert first.next == second.now
    for move in moves:
        assert move.now.alpha < move.next.alpha
        assert move.now.alpha**2 + move.now.sigma**2 == pytest.approx(1)


def test_timesteps_agree_with_diffusers(schedule: VariancePreserving) -> None:
    scheduler = DDIMScheduler.from_pretrained(TINY / "scheduler")
    for count in (4, 20, 50, 200):
        scheduler.set_timesteps(count)
        assert schedule.timesteps(count) == scheduler.timesteps.tolist()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_moves_agree_with_the_steps_of_diffusers(schedule: VariancePreserving, prediction: str) -> None:
    scheduler = DDIMScheduler.from_pretrained(TINY / "scheduler", prediction_type=prediction)
    scheduler.set_timesteps(50)
    z, output = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for move in schedule.moves(50):
        expected = scheduler.step(output, move.now.t, z).prev_sample
        z = move(move.now.predict(output, z, prediction))
        torch.testing.assert_close(z, expected, rtol=1e-4, atol=1e-4)


def test_noise_of_a_move_agrees_with_the_eta_of_diffusers(schedule: VariancePreserving) -> None:
    """Theirs is relative to the posterior's standard deviation s: ours is eta s / sigma of the next level."""
    scheduler = DDIMScheduler.from_pretrained(TINY / "scheduler")
    scheduler.set_timesteps(10)
    z, eps, noise = torch.randn(3, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    for move in schedule.moves(10):
        ratio = (move.now.alpha / move.next.alpha) ** 2
        deviation = move.next.sigma / move.now.sigma * (1 - ratio) ** 0.5
        expected = scheduler.step(eps, move.now.t, z, eta=0.7, variance_noise=noise).prev_sample
        at = move.now.predict(eps, z, "epsilon")
        z = move(Prediction(at.z_0, at.eps), eta=0.7 * deviation / move.next.sigma, noise=noise)
        torch.testing.assert_close(z, expected, rtol=1e-4, atol=1e-4)


def test_shifted_table_of_the_released_code(schedule: VariancePreserving) -> None:
    plain, shifted = schedule.moves(200), schedule.shifted(1).moves(200)
    assert [move.now.t for move in plain] == [move.now.t for move in shifted]
    assert shifted[0].now.alpha ** 2 == pytest.approx(schedule.alphas_cumprod[995], rel=1e-12)
    assert shifted[-1].now.alpha ** 2 == pytest.approx(schedule.alphas_cumprod[0], rel=1e-12)
    assert shifted[-1].next.alpha ** 2 == pytest.approx(schedule.final_alpha, rel=1e-12)


@pytest.mark.parametrize("steps", [0, -1, 1000])
def test_impossible_numbers_of_steps(schedule: VariancePreserving, steps: int) -> None:
    with pytest.raises(FieldError, match=rf"steps={steps}: must be between 1 and 999"):
        schedule.moves(steps)


@pytest.mark.parametrize(("spacing", "steps"), [("trailing", 1), ("trailing", 7), ("linspace", 5), ("leading", 8)])
def test_spacings_are_those_of_diffusers(spacing: str, steps: int) -> None:
    scheduler = DDIMScheduler(timestep_spacing=spacing, steps_offset=1)
    scheduler.set_timesteps(steps)
    schedule = VariancePreserving(tuple(scheduler.alphas_cumprod.tolist()), 1.0, spacing=spacing)
    assert schedule.timesteps(steps) == scheduler.timesteps.tolist()


@pytest.mark.parametrize("offset", [0, 1, 3])
def test_leading_steps_visit_the_whole_schedule(offset: int) -> None:
    """Whatever their number, the first is one stride from the end; where it divides 1000 they are diffusers'."""
    scheduler = DDIMScheduler(timestep_spacing="leading", steps_offset=offset)
    schedule = VariancePreserving(tuple(scheduler.alphas_cumprod.tolist()), 1.0, steps_offset=offset)
    most = {0: 1000, 1: 999, 3: 333}[offset]
    for steps in range(1, most + 1):
        timesteps = schedule.timesteps(steps)
        assert len(set(timesteps)) == steps
        assert timesteps[-1] == offset
        assert 0 <= 1000 + offset - 1000 / steps - timesteps[0] < 1
        assert timesteps[0] < 1000
        if 1000 % steps == 0:
            scheduler.set_timesteps(steps)
            assert timesteps == scheduler.timesteps.tolist()
    with pytest.raises(FieldError, match=rf"^steps={most + 1}: must be between 1 and {most}: "):
        schedule.timesteps(most + 1)


def test_figures_of_leading_steps(schedule: VariancePreserving) -> None:
    assert schedule.timesteps(501)[:3] == [999, 997, 995]  # not 501, 500, 499
    assert schedule.timesteps(30)[:3] == [967, 934, 901]  # not 958, 925, 892
    assert schedule.timesteps(999)[0] == 999


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_the_grid_of_consistency_models_is_that_of_diffusers(steps: int) -> None:
    scheduler = LCMScheduler()
    scheduler.set_timesteps(steps)
    schedule = VariancePreserving(tuple(scheduler.alphas_cumprod.tolist()), 1.0, spacing="lcm")
    assert schedule.timesteps(steps) == scheduler.timesteps.tolist()


def test_an_unknown_spacing_is_refused(schedule: VariancePreserving) -> None:
    with pytest.raises(FieldError, match=r"timestep_spacing=karras: allowed are leading, trailing"):
        VariancePreserving(schedule.alphas_cumprod, 1.0, spacing="karras")
