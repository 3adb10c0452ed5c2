"""Tasks of the configuration by name."""

from __future__ import annotations

from hydra import compose, initialize_config_dir

from treg_exp.configuration.building import build
from treg_exp.configuration.folder import config_folder
from treg_exp.tasks.base import Task


def built_task(name: str) -> Task:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        cfg = compose("config", overrides=["experiment=single", f"task={name}"])
    return build(cfg.task, "task", Task)
