"""From ``scheduler/scheduler_config.json`` to a schedule, whatever sampler the file names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from treg_exp.errors import FieldError
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.levels import EDM_DATA_STD, Kind, Schedule, check_kind
from treg_exp.schedule.sigma import Karras
from treg_exp.schedule.variance_preserving import Spacing, VariancePreserving

FILE = "scheduler/scheduler_config.json"


def read_scheduler(folder: Path) -> Mapping[str, Any]:
    """The scheduler's configuration of a prior."""
    config: Mapping[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return config


def any_schedule(folder: Path, spacing: Spacing | None = None) -> tuple[Schedule, Kind]:
    """The schedule of a denoiser that may have been trained on any of the families, see the functions below."""
    name = str(read_scheduler(folder).get("_class_name"))
    if name.startswith("EDM"):
        return karras(folder, spacing)
    return flow(folder, spacing) if name.startswith("FlowMatch") else variance_preserving(folder, spacing)


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
            FILE, config.get("_class_name"), "has no beta_schedule, which this kind of denoiser was trained with"
        )
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


def flow(folder: Path, spacing: Spacing | None = None, patch: int = 2, ends_at_step: bool = False) -> tuple[Flow, Kind]:
    """The schedule of a rectified flow.

    Args:
        folder: of the prior.
        spacing: must be None: there is no table of timesteps to choose from.
        patch: side of the squares of latent places that are one token.
        ends_at_step: whether the pipeline asks for levels down to 1 / steps itself (Flux), see ``Flow.ends_at``.

    Raises:
        FieldError: a setting that is not supported, or the schedule of another kind of model.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    config = read_scheduler(folder)
    name = config.get("_class_name")
    if not str(name).startswith("FlowMatch"):
        raise FieldError(FILE, name, "is no schedule of a flow, which this kind of denoiser was trained with")
    unknown = ("invert_sigmas", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
    if found := [setting for setting in unknown if config.get(setting)]:
        raise FieldError(FILE, name, f"has {found[0]}, which is not supported")
    _no_spacing(spacing)
    settings = FlowMatchEulerDiscreteScheduler.from_config(config).config
    schedule = Flow(
        train_timesteps=settings.num_train_timesteps,
        shift=settings.shift,
        dynamic=settings.use_dynamic_shifting,
        base_tokens=settings.base_image_seq_len,
        most_tokens=settings.max_image_seq_len,
        base_shift=settings.base_shift,
        most_shift=settings.max_shift,
        shift_type=settings.time_shift_type,
        terminal=settings.shift_terminal or None,
        patch=patch,
        ends_at="step" if ends_at_step else "table",
    )
    return schedule, "flow"


def karras(folder: Path, spacing: Spacing | None = None) -> tuple[Karras, Kind]:
    """The schedule of a denoiser in the formulation of EDM.

    Args:
        folder: of the prior.
        spacing: must be None: there is no table of timesteps to choose from.

    Raises:
        FieldError: a setting that is not supported.
    """
    from diffusers import EDMEulerScheduler

    config = read_scheduler(folder)
    settings = EDMEulerScheduler.from_config(config).config
    supported = {
        "sigma_data": EDM_DATA_STD,
        "sigma_schedule": "karras",
        "prediction_type": "epsilon",
        "final_sigmas_type": "zero",
    }
    for name, value in supported.items():
        if settings[name] != value:
            raise FieldError(
                FILE, f"{name} {settings[name]}", f"only {value} is supported with {config['_class_name']}"
            )
    _no_spacing(spacing)
    return Karras(settings.sigma_min, settings.sigma_max, settings.rho), "edm"


def clip_range(folder: Path) -> float | None:
    """The range that a pixel-space sampler keeps its estimates in, +-; None where it does not clip.

    Raises:
        FieldError: dynamic thresholding, which is not supported.
    """
    config = read_scheduler(folder)
    if config.get("thresholding"):
        raise FieldError(FILE, "thresholding", "is not supported")
    return float(config.get("clip_sample_range", 1.0)) if config.get("clip_sample") else None


def _no_spacing(spacing: Spacing | None) -> None:
    if spacing is not None:
        raise FieldError("timestep_spacing", spacing, "this prior has no table of timesteps to space; leave it null")
