"""Loads the task presets of ``conf/task``."""

from __future__ import annotations

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import OmegaConf

from treg_exp.operators import Task

PRESETS = Path(__file__).resolve().parents[2] / "conf" / "task"
NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_task(name: str, **changes: object) -> Task:
    """The task of ``conf/task/<name>.yaml``; ``changes`` replace fields, dots written as two underscores."""
    config = OmegaConf.load(PRESETS / f"{name}.yaml")
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    return instantiate(config)
