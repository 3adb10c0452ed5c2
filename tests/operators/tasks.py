"""Loads the task presets of ``conf/task``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from treg_exp.errors import FieldError
from treg_exp.tasks.inverse import InverseTask

PRESETS = Path(__file__).resolve().parents[2] / "conf" / "task"
# Named as the option ``task=`` names them ("jpeg", "paper/daps_hdr"), so that no file can take the place of another.
PATHS = {path.relative_to(PRESETS).with_suffix("").as_posix(): path for path in sorted(PRESETS.rglob("*.yaml"))}
# Shapes of what a prior makes; those of images have sides that differ, to tell rows from columns.
IMAGES = ((3, 32, 48), (3, 32, 64), (3, 64, 96), (3, 128, 160))
RECORDINGS = ((1, 256), (1, 4096))


def _inverse(name: str) -> bool:
    return issubclass(get_object(OmegaConf.load(PATHS[name])._target_), InverseTask)


NAMES = [name for name in PATHS if _inverse(name)]


def _is_linear(name: str) -> bool:
    operator = OmegaConf.load(PATHS[name]).get("operator")
    return operator is None or get_object(operator._target_).linear


NONLINEAR = [name for name in NAMES if not _is_linear(name)]
LINEAR = [name for name in NAMES if name not in NONLINEAR]
PAPER = [name for name in LINEAR if name.startswith("paper/")]
# A motion blur with a reflecting edge has no closed form, and without damping no solution that 500 iterations in
# float32 reach: what is promised for lambda = 0 and of the pseudo-inverse is not asked of these presets.
DAMPED = [name for name in PAPER if name.endswith("_motion_deblur")]
UNDAMPED = [name for name in LINEAR if name not in DAMPED]


def load_task(name: str, **changes: object) -> InverseTask:
    """The task of ``<name>.yaml``; ``changes`` replace fields, dots written as two underscores."""
    config = OmegaConf.load(PATHS[name])
    assert isinstance(config, DictConfig)
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    task: Any = instantiate(config, _convert_="all")
    return task


def smallest_shape(name: str) -> tuple[int, ...]:
    """The smallest test shape of a prior's signals that the task's operator takes (kernels and factors set a limit)."""
    task = load_task(name)
    for shape in RECORDINGS if name.startswith("audio/") else IMAGES:
        try:
            task.build(shape, ["any"])
        except FieldError:
            continue
        return shape
    raise AssertionError(f"{name} takes none of the test shapes")
