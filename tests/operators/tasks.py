"""Loads the task presets of ``conf/task``."""

from __future__ import annotations

from pathlib import Path

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from treg_exp.tasks.inverse import InverseTask

PRESETS = Path(__file__).resolve().parents[2] / "conf" / "task"
# Named as the option ``task=`` names them ("jpeg", "paper/daps_hdr"), so that no file can take the place of another.
PATHS = {path.relative_to(PRESETS).with_suffix("").as_posix(): path for path in sorted(PRESETS.rglob("*.yaml"))}
NAMES = list(PATHS)
SHAPES = ((3, 32, 48), (3, 32, 64), (3, 64, 96), (3, 128, 160))  # sides differ, to tell rows from columns


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


def load_task(name: str, **changes: object) -> Task:
    """The task of ``<name>.yaml``; ``changes`` replace fields, dots written as two underscores."""
    config = OmegaConf.load(PATHS[name])
    assert isinstance(config, DictConfig)
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    return instantiate(config, _convert_="all")


def smallest_shape(task: Task) -> tuple[int, int, int]:
    """The smallest test size that the task's operator allows (kernels and factors set a limit)."""
    for shape in SHAPES[:-1]:
        try:
            task.build(shape, ["any"])
        except ValueError:
            continue
        return shape
    return SHAPES[-1]
