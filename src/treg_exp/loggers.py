"""From the ``logger`` group to the mirrors of a run: W&B's, one of the user's own, or one of Lightning."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from treg_exp.configuration.building import build, parameters
from treg_exp.configuration.targets import target_class
from treg_exp.engine.mirror import RunMirror


def build_loggers(cfg: DictConfig, run_dir: Path) -> list[RunMirror]:
    """One mirror for every node.

    Args:
        cfg: the group, by name.
        run_dir: the run folder; a logger of Lightning writes there where its ``save_dir`` is null.

    Raises:
        ConfigError: a class that is no logger, a wrong value, or a package that a logger needs is missing.
    """
    return [_mirror(node, f"logger.{name!s}", run_dir) for name, node in cfg.items()]


def _mirror(node: DictConfig, section: str, run_dir: Path) -> RunMirror:
    if not isinstance(node, DictConfig) or not _is_of_lightning(node, section):
        mirror: RunMirror = build(node, section, RunMirror)
        return mirror
    from lightning.pytorch.loggers import Logger

    from treg_exp.engine.lightning_mirror import LightningMirror

    given = {}
    if "save_dir" in parameters(node, section) and node.get("save_dir") is None:
        node, given = OmegaConf.masked_copy(node, [str(k) for k in node if k != "save_dir"]), {"save_dir": str(run_dir)}
    return LightningMirror(build(node, section, Logger, **given))


def _is_of_lightning(node: DictConfig, section: str) -> bool:
    kind = target_class(node.get("_target_"), section)
    return any(base.__module__.startswith("lightning.pytorch.loggers") for base in kind.__mro__)
