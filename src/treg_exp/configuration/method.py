"""A method has all settings of its solver and its text, and goes with no experiment that sets them, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from treg_exp.errors import ConfigError

GROUPS = ("solver", "guidance", "null_text", "prompt_rule", "text_match")  # what belongs to a method


def check_method(cfg: DictConfig) -> None:
    """Raise ConfigError for a method beside an experiment that sets what belongs to it."""
    if cfg.get("method") is None or not HydraConfig.initialized():
        return
    runtime = HydraConfig.get().runtime
    folders = [Path(source.path) for source in runtime.config_sources if source.schema == "file"]
    for name in str(runtime.choices.get("experiment")).strip("[]").replace("'", "").split(","):
        if group := _group_set_by(name.strip(), folders):
            raise ConfigError(
                f"method={runtime.choices.get('method')}: experiment={name.strip()} sets {group} itself, which belongs "
                "to the method; take experiment=single"
            )


def _group_set_by(experiment: str, folders: Sequence[Path]) -> str | None:
    """The first of `GROUPS` that an experiment, or one that it is made of, sets for the whole run; None if none."""
    files = (folder / "experiment" / f"{experiment}.yaml" for folder in folders)
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return None
    content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    assert isinstance(content, dict)
    found = [str(key) for key in content]
    for entry in content.get("defaults", []):
        if isinstance(entry, dict):  # solver/prox is part of the solver, guidance@variants.own.guidance of a variant
            found += [str(key).removeprefix("override ").strip().lstrip("/").split("/")[0] for key in entry]
        elif group := _group_set_by(str(entry).removeprefix("/experiment/"), folders):
            return group
    return next((name for name in found if name in GROUPS), None)
