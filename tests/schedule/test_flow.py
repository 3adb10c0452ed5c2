"""The levels of a rectified flow are those of diffusers' scheduler, at any size and shift."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from treg_exp.errors import FieldError
from treg_exp.priors.families.schedules import flow
from treg_exp.schedule.flow import Flow

DYNAMIC = {"use_dynamic_shifting": True}
SETTINGS: list[dict[str, Any]] = [
    {"shift": 3.0},
    {"shift": 1.0},
    DYNAMIC,
    {**DYNAMIC, "time_shift_type": "linear", "base_image_seq_len": 64, "max_shift": 2.0},
    {"shift": 3.0, "shift_terminal": 0.1},
]
SIZES = [(1, 16), (4, 16), (28, 64), (7, 128)]
# With one step diffusers divides by zero where levels are stretched to a terminal one.
CASES = [
    (settings, *size) for settings in SETTINGS for size in SIZES if size[0] > 1 or "shift_terminal" not in settings
]


@pytest.mark.parametrize(("settings", "steps", "side"), CASES)
@pytest.mark.parametrize("own_sigmas", [False, True])
def test_levels_are_those_of_diffusers(
    settings: dict[str, Any], own_sigmas: bool, steps: int, side: int, tmp_path: Path
) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(**settings)
    scheduler.save_pretrained(tmp_path / "scheduler")
    config = scheduler.config
    mu = calculate_shift(
        (side // 2) ** 2, config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift
    )
    # The pipeline of SD 3 leaves the levels to the scheduler, that of Flux asks for its own.
    asked = {"sigmas": np.linspace(1.0, 1 / steps, steps)} if own_sigmas else {"num_inference_steps": steps}
    scheduler.set_timesteps(**asked, mu=mu if config.use_dynamic_shifting else None)
    schedule, kind = flow(tmp_path, ends_at_step=own_sigmas)
    assert kind == "flow"
    moves = schedule.moves(steps, (16, side, side))
    told = torch.tensor([move.now.t for move in moves])
    torch.testing.assert_close(told, scheduler.timesteps, rtol=1e-5, atol=1e-3)
    sigmas = torch.tensor([move.now.sigma for move in moves] + [moves[-1].next.sigma])
    torch.testing.assert_close(sigmas, scheduler.sigmas, rtol=1e-5, atol=1e-6)


def test_moves_are_chained_from_noise_to_signal() -> None:
    moves = Flow(shift=3.0).moves(9)
    assert (moves[0].now.alpha, moves[0].now.sigma) == (0.0, 1.0)
    assert (moves[-1].next.alpha, moves[-1].next.sigma) == (1.0, 0.0)
    for first, second in pairwise(moves):
        assert first.next == second.now
        assert first.now.alpha + first.now.sigma == pytest.approx(1)


def test_larger_latents_are_asked_at_more_noise() -> None:
    schedule = Flow(dynamic=True)
    small, large = (schedule.moves(8, (16, side, side))[4].now.sigma for side in (32, 128))
    assert small + 0.05 < large
    with pytest.raises(FieldError, match="depends on the size of the latents"):
        schedule.moves(8)


def test_one_step_of_a_stretched_schedule_is_pure_noise() -> None:
    assert Flow(terminal=0.1).sigmas(1) == [1.0]


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_numbers_of_steps(steps: int) -> None:
    with pytest.raises(FieldError, match="between 1 and 1000"):
        Flow().moves(steps)


@pytest.mark.parametrize("setting", ["invert_sigmas", "use_karras_sigmas", "use_exponential_sigmas"])
def test_what_is_not_supported_is_refused(setting: str, tmp_path: Path) -> None:
    FlowMatchEulerDiscreteScheduler(**{setting: True}).save_pretrained(tmp_path / "scheduler")
    with pytest.raises(FieldError, match=rf"scheduler_config.json=FlowMatchEuler.*has {setting}"):
        flow(tmp_path)


def test_another_sampler_of_flows_has_the_same_levels(tmp_path: Path) -> None:
    FlowMatchHeunDiscreteScheduler(shift=3.0).save_pretrained(tmp_path / "scheduler")
    assert flow(tmp_path)[0] == Flow(shift=3.0)


def test_a_spacing_is_refused(tmp_path: Path) -> None:
    FlowMatchEulerDiscreteScheduler().save_pretrained(tmp_path / "scheduler")
    with pytest.raises(FieldError, match="timestep_spacing=trailing: this prior has no table of timesteps"):
        flow(tmp_path, "trailing")
