"""From ``scheduler/scheduler_config.json`` to a schedule, whatever sampler the file names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from treg_exp.errors import FieldError
from treg_exp.schedule.levels import Kind, check_kind
from treg_exp.schedule.variance_preserving import Spacing, VariancePreserving


def read_scheduler(folder: Path) -> Mapping[str, Any]:
    """The scheduler's configuration of a prior."""
    config: Mapping[str, Any] = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    return config


def variance_preserving(folder: Path, spacing: Spacing | None = None) -> tuple[VariancePreserving, Kind]:
    """The training schedule of a denoiser with a discrete table of betas, and what its output means.

    Args:
        folder: of the prior.
        spacing: of the sampler's timesteps; None takes the file's.

    Raises:
        FieldError: an unknown spacing or prediction type, or the schedule of another kind of model.
    """
    from diffusers import DDIMScheduler

    config = read_scheduler(folder)
    if "beta_schedule" not in config:
        raise FieldError(
            "scheduler/scheduler_config.json", config.get("_class_name"), "has no beta_schedule, which this kind of "
            "denoiser was trained with"
        )  # fmt: skip
    scheduler = DDIMScheduler.from_config(config)
    own: Spacing = "lcm" if config.get("_class_name") == "LCMScheduler" else scheduler.config.timestep_spacing
    schedule = VariancePreserving(
        alphas_cumprod=tuple(scheduler.alphas_cumprod.double().tolist()),
        final_alpha=float(scheduler.final_alpha_cumprod),
        spacing=spacing or own,
        steps_offset=scheduler.config.steps_offset,
        lcm_steps=config.get("original_inference_steps", 50),
    )
    return schedule, check_kind(scheduler.config.prediction_type)
