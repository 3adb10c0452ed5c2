"""The part of a configuration that decides the results: it says which run is which, and where it is."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from treg_exp.configuration.settings import prepared
from treg_exp.configuration.targets import target_class
from treg_exp.errors import ConfigError
from treg_exp.run_layout import RunLayout

RUNS = "runs"  # where runs are that nobody gave a folder
# What changes no restoration: not part of a run's identity, free to differ when a run is continued. A class names such
# values of its own in `not_identity`.
NOT_IDENTITY = ("run_dir", "dry_run", "trainer", "logger", "trajectory", "data.batch_size")


def identity(cfg: DictConfig) -> dict[str, Any]:
    """The part of a configuration that decides the results."""
    return decisive(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]


def decisive(values: dict[str, Any]) -> dict[str, Any]:
    """``values`` of a configuration without those that change no restoration."""
    kept = copy.deepcopy(values)
    for key in NOT_IDENTITY:
        *parents, leaf = key.split(".")
        node = kept
        for parent in parents:
            node = node.get(parent) or {}
        node.pop(leaf, None)
    result: dict[str, Any] = _decisive(kept)
    return result


def _decisive(node: Any) -> Any:
    """A copy of a node without what its class, or a nested one's, leaves out of the identity."""
    if isinstance(node, list):
        return [_decisive(child) for child in node]
    if not isinstance(node, dict):
        return node
    left_out = _not_identity(node.get("_target_"))
    return {name: _decisive(child) for name, child in node.items() if name not in left_out}


def _not_identity(target: object) -> tuple[str, ...]:
    """The values that a class leaves out of the identity; none where there is no such class."""
    try:
        return tuple(getattr(target_class(target, ""), "not_identity", ()))
    except ConfigError:
        return ()


def run_dir(cfg: DictConfig) -> Path:
    """The folder of a run.

    Args:
        cfg: prepared. Its ``run_dir`` is the folder. Jobs of somebody else's sweeper, which knows nothing of run
            folders, get one each below it.
    """
    of_others = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if cfg.get("run_dir") and not of_others:
        return Path(cfg.run_dir)
    return Path(cfg.get("run_dir") or RUNS) / config_hash(cfg)


def config_hash(cfg: DictConfig) -> str:
    """Ten hexadecimal digits that name a run."""
    return hash_of(identity(cfg))


def hash_of(identity: Mapping[str, Any]) -> str:
    """The same of an identity."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def check_planned(cfg: DictConfig) -> None:
    """Raise ConfigError for a run folder that a sweep has planned for other settings.

    So it is where somebody else's launcher has composed a job long after it was planned, and a file was changed since.
    """
    planned = RunLayout(Path(cfg.run_dir)).job if cfg.get("run_dir") else None
    if planned is None or not planned.is_file():
        return
    before = OmegaConf.load(planned)
    assert isinstance(before, DictConfig)
    if config_hash(prepared(before)) != config_hash(prepared(cfg)):
        raise ConfigError(
            f"run_dir={cfg.run_dir} is planned for other settings, see its {planned.name}; "
            "`treg-exp resume` runs what was planned"
        )


def check_single(cfg: DictConfig) -> None:
    """Raise ConfigError for a grid of values that is asked for without -m: it would have no effect."""
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    grid = hydra is not None and hydra.mode == RunMode.RUN and hydra.sweeper.get("params")
    if grid and not (cfg.get("run_dir") and RunLayout(Path(cfg.run_dir)).job.is_file()):
        raise ConfigError("this experiment is a grid of runs (hydra.sweeper.params): start it with -m")
