"""The levels of EDM are those of diffusers' scheduler."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import EDMEulerScheduler

from treg_exp.errors import FieldError
from treg_exp.priors.families.schedules import karras
from treg_exp.schedule.sigma import Karras


@pytest.mark.parametrize("settings", [{}, {"sigma_min": 0.01, "sigma_max": 50.0, "rho": 5.0}])
@pytest.mark.parametrize("steps", [1, 2, 18])
def test_levels_are_those_of_diffusers(settings: dict[str, Any], steps: int, tmp_path: Path) -> None:
    scheduler = EDMEulerScheduler(**settings)
    scheduler.save_pretrained(tmp_path / "scheduler")
    scheduler.set_timesteps(steps)
    schedule, kind = karras(tmp_path)
    assert kind == "edm"
    moves = schedule.moves(steps)
    told = torch.tensor([move.now.t for move in moves])
    torch.testing.assert_close(told, scheduler.timesteps, rtol=1e-5, atol=1e-5)
    sigmas = torch.tensor([move.now.sigma for move in moves] + [moves[-1].next.sigma])
    torch.testing.assert_close(sigmas, scheduler.sigmas, rtol=1e-5, atol=1e-6)
    assert {move.now.alpha for move in moves} == {1.0}


def test_prediction_and_move_agree_with_a_step_of_diffusers() -> None:
    scheduler = EDMEulerScheduler()
    scheduler.set_timesteps(6)
    z, output = torch.randn(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    z = z * 80
    for move, t in zip(Karras().moves(6), scheduler.timesteps, strict=True):
        scheduler.scale_model_input(z, t)
        step = scheduler.step(output, t, z)
        at = move.now.predict(output, z, "edm")
        torch.testing.assert_close(at.z_0, step.pred_original_sample, rtol=1e-4, atol=1e-4)
        z = move(at)
        torch.testing.assert_close(z, step.prev_sample, rtol=1e-4, atol=1e-4)


def test_a_level_is_told_by_its_time() -> None:
    for move in Karras().moves(5):
        level = Karras().level(move.now.t)
        assert level.sigma == pytest.approx(move.now.sigma)
        assert level.t == pytest.approx(math.log(level.sigma) / 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sigma_data": 1.0}, r"sigma_data 1\.0: only 0\.5 is supported"),
        ({"sigma_schedule": "exponential"}, "sigma_schedule exponential: only karras"),
        ({"prediction_type": "v_prediction"}, "prediction_type v_prediction: only epsilon"),
        ({"final_sigmas_type": "sigma_min"}, "final_sigmas_type sigma_min: only zero"),
    ],
)
def test_what_is_not_supported_is_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    EDMEulerScheduler(**settings).save_pretrained(tmp_path / "scheduler")
    with pytest.raises(FieldError, match=message):
        karras(tmp_path)


def test_impossible_values_are_refused(tmp_path: Path) -> None:
    for wrong in ({"sigma_min": 0.0}, {"sigma_min": 3.0, "sigma_max": 2.0}, {"rho": 0.0}):
        with pytest.raises(FieldError):
            Karras(**wrong)
    with pytest.raises(FieldError, match=r"steps=0: must be >= 1"):
        Karras().moves(0)
    EDMEulerScheduler().save_pretrained(tmp_path / "scheduler")
    with pytest.raises(FieldError, match="timestep_spacing=leading: this prior has no table of timesteps"):
        karras(tmp_path, "leading")
