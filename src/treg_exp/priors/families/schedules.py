"""From ``scheduler/scheduler_config.json`` to a schedule, whatever sampler the file names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from treg_exp.errors import FieldError, FileError
from treg_exp.priors.checked_json import Section, read_section, told
from treg_exp.schedule.flow import Flow, ShiftType
from treg_exp.schedule.levels import EDM_DATA_STD, Kind, Schedule, check_kind
from treg_exp.schedule.sigma import Karras
from treg_exp.schedule.variance_preserving import Spacing, VariancePreserving

FILE = "scheduler/scheduler_config.json"
MOST_TIMESTEPS = 100_000  # of training; models have 1000


def read_scheduler(folder: Path) -> Section:
    """The scheduler's configuration of a prior."""
    return read_section(folder / FILE)


def any_schedule(folder: Path, spacing: Spacing | None = None) -> tuple[Schedule, Kind]:
    """The schedule of a denoiser that may have been trained on any of the families, see the functions below."""
    if str(read_scheduler(folder).get("_class_name")).startswith("EDM"):
        return karras(folder, spacing)
    return table_or_flow(folder, spacing)


def table_or_flow(folder: Path, spacing: Spacing | None = None) -> tuple[Schedule, Kind]:
    """The schedule of a denoiser that may have been trained on a table of betas or as a flow, see below."""
    scheduler = read_scheduler(folder)
    if not str(scheduler.get("_class_name")).startswith("FlowMatch"):
        return variance_preserving(folder, spacing)
    if scheduler.get("use_dynamic_shifting"):
        raise FieldError(
            FILE, scheduler.get("_class_name"), "has use_dynamic_shifting, which counts tokens; a U-Net has none"
        )
    return flow(folder, spacing)


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
    scheduler, settings = _built(DDIMScheduler, config)
    train = settings.whole("num_train_timesteps")
    table = scheduler.alphas_cumprod.double()
    if tuple(table.shape) != (train,):
        raise settings.wrong("trained_betas", f"it must be a list of num_train_timesteps={train} numbers, or null")
    alphas = tuple(table.tolist())
    if not all(0 <= beta <= 1 for beta in scheduler.betas.tolist()):
        raise FileError(f"{config.file} describes no schedule: its betas must be in [0, 1]")
    own: Spacing = "lcm" if config.get("_class_name") == "LCMScheduler" else settings["timestep_spacing"]
    if spacing is None and own not in get_args(Spacing):
        raise settings.wrong("timestep_spacing", f"allowed are {', '.join(get_args(Spacing))}")
    schedule = VariancePreserving(
        alphas_cumprod=alphas,
        final_alpha=float(scheduler.final_alpha_cumprod),
        spacing=spacing or own,
        steps_offset=settings.whole("steps_offset", 0, train - 1),
        lcm_steps=config.whole("original_inference_steps", 1, train) if "original_inference_steps" in config else 50,
    )
    return schedule, check_kind(settings["prediction_type"])


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
    settings = _built(FlowMatchEulerDiscreteScheduler, config)[1]
    terminal = settings.number("shift_terminal", 0.0)
    if not 0 <= terminal < 1:
        raise settings.wrong("shift_terminal", "it must be in [0, 1), or null")
    tokens = [settings.whole(key) for key in ("base_image_seq_len", "max_image_seq_len")]
    if tokens[0] == tokens[1]:
        raise settings.wrong("max_image_seq_len", "it must differ from base_image_seq_len")
    if settings["time_shift_type"] not in (shifts := get_args(ShiftType)):
        raise settings.wrong("time_shift_type", f"allowed are {', '.join(shifts)}")
    schedule = Flow(
        train_timesteps=settings.whole("num_train_timesteps"),
        shift=settings.number("shift", positive=True),
        dynamic=settings.flag("use_dynamic_shifting", False),
        base_tokens=tokens[0],
        most_tokens=tokens[1],
        base_shift=settings.number("base_shift"),
        most_shift=settings.number("max_shift"),
        shift_type=settings["time_shift_type"],
        terminal=terminal or None,
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
    settings = _built(EDMEulerScheduler, config)[1]
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
    low, high = settings.number("sigma_min", positive=True), settings.number("sigma_max", positive=True)
    return Karras(low, high, settings.number("rho", positive=True)), "edm"


def clip_range(folder: Path) -> float | None:
    """The range that a pixel-space sampler keeps its estimates in, +-; None where it does not clip.

    Raises:
        FieldError: dynamic thresholding, which is not supported.
    """
    config = read_scheduler(folder)
    if config.get("thresholding"):
        raise FieldError(FILE, "thresholding", "is not supported")
    clips = config.flag("clip_sample", False)
    return config.number("clip_sample_range", 1.0, positive=True) if clips else None


def _built(kind: Any, config: Section) -> tuple[Any, Section]:
    """A scheduler of diffusers, and its settings with its own defaults for what the file leaves out.

    Raises:
        FileError: the file describes none.
    """
    if "num_train_timesteps" in config:
        config.whole("num_train_timesteps", 2, MOST_TIMESTEPS)  # before a table of that length is built
    try:
        scheduler = kind.from_config(dict(config))
    except Exception as error:  # whatever the class makes of values that it cannot use
        raise FileError(f"{config.file} describes no schedule: {told(error)}") from error
    return scheduler, Section(dict(scheduler.config), config.file)


def _no_spacing(spacing: Spacing | None) -> None:
    if spacing is not None:
        raise FieldError("timestep_spacing", spacing, "this prior has no table of timesteps to space; leave it null")
