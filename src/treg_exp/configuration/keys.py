"""The top level of a configuration: which keys something reads, and which must be there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig, OmegaConf

from treg_exp.configuration.trajectory import TrajectorySettings
from treg_exp.errors import ConfigError, FieldError, nearest

PIECES = ("prior", "data", "task", "solver", "prompt", "guidance", "null_text", "prompt_rule", "text_match")
OPTIONAL = ("last_step",)  # pieces that nothing needs; one without values is as if it were not there
COLLECTIONS = ("texts", "variants", "metrics", "logger", "trainer", "trajectory")  # may be empty, and so left out
SETTINGS = ("seed", "draws", "text_weight", "run_dir", "dry_run", "mode", "method")
FIT = ("recipe", "run_dir", "dry_run", "mode")
MODES = ("predict", "fit")
GLOBAL = ("experiment", "method", "debug")  # groups whose options set values of others
RECIPE_PIECES = ("objective", "data", "budget", "optimizer", "schedule", "sharing", "checkpoint", "trainer", "seed")
RECIPE_COLLECTIONS = ("callbacks", "loggers")
RECIPE_SETTINGS = ("begin_from", "folder")
# In every configuration; a training has its own of them, and reads them in its recipe.
UNREAD_BY_FIT = {
    "seed": 0,
    "draws": 1,
    "text_weight": 1.0,
    "texts": {},
    "variants": {},
    "trajectory": asdict(TrajectorySettings()),
    **{key: {} for key in OPTIONAL},
}


def check_keys(cfg: DictConfig) -> list[str]:
    """Refuse keys at the top that nothing reads, and a group that is missing.

    A key of the user's own is fine where other values refer to it, as in ``+s=3 guidance.scale=${s}``.

    Args:
        cfg: with its interpolations.

    Returns:
        Keys that only interpolations read.

    Raises:
        ConfigError: about the first such key, with the nearest right one.
    """
    values: Any = OmegaConf.to_container(cfg, resolve=False)
    mode = values.get("mode", "predict")
    if mode not in MODES:
        raise ConfigError(f"mode={mode}: no such mode; it is one of {', '.join(MODES)}")
    known = FIT if mode == "fit" else (*PIECES, *OPTIONAL, *COLLECTIONS, *SETTINGS)
    helpers = [key for key in values if key not in known and _is_referred_to(str(key), values)]
    for key, value in values.items():
        if key in known or key in helpers or (mode == "fit" and value == UNREAD_BY_FIT.get(key, ...)):
            continue
        raise ConfigError(f"{key}: nothing reads it{_hint(str(key), mode, values, known)}")
    for name in () if mode == "fit" else PIECES:
        if values.get(name) is None:
            raise ConfigError(f"{name}: is missing, and a restoration needs it: {name}=<option>, see --help")
    for name in COLLECTIONS:
        if mode != "fit" and not isinstance(values.get(name, {}), dict):
            raise ConfigError(str(FieldError(name, values[name], "must be a mapping of names")))
    return helpers


def check_recipe(recipe: Any) -> None:
    """The same for a recipe. What its pieces share stands beside them, as a value that they refer to or a piece.

    Args:
        recipe: with its interpolations.

    Raises:
        ConfigError: about the first key that nothing reads, or that is missing.
    """
    if not isinstance(recipe, DictConfig):
        raise ConfigError(f"recipe={recipe}: must be one of the options of the group, see --help")
    values: Any = OmegaConf.to_container(recipe, resolve=False)
    known = (*RECIPE_PIECES, *RECIPE_COLLECTIONS, *RECIPE_SETTINGS)
    for key, value in values.items():
        shared = isinstance(value, dict) and "_target_" in value
        if key not in known and not shared and not _is_referred_to(str(key), values, r"(\brecipe|\{)\.+"):
            raise ConfigError(f"recipe.{key}: nothing reads it{_hint(str(key), 'fit', values, known)}")
    for name in RECIPE_PIECES:
        if values.get(name) is None:
            raise ConfigError(f"recipe.{name}: is missing, and a training needs it")
    seed = recipe.seed
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ConfigError(f"recipe.seed={seed}: must be an integer >= 0 and below 2**63")
    for name in (*RECIPE_COLLECTIONS, "trainer"):
        if not isinstance(values.get(name, {}), dict):
            raise ConfigError(str(FieldError(f"recipe.{name}", values[name], "must be a mapping of names")))


def with_collections(values: dict[str, Any]) -> dict[str, Any]:
    """``values`` of a restoration with empty mappings where a collection was left out."""
    return {**{name: {} for name in COLLECTIONS}, **values}


def _hint(key: str, mode: str, values: dict[str, Any], known: tuple[str, ...]) -> str:
    """What was meant: a value further down of this name, or the key that is spelled most like it."""
    if key == "recipe":
        return " unless mode=fit"
    if key in GLOBAL:
        return f"; a file of the group {key} begins with the line '# @package _global_'"
    places = [place for place in _dotted(values, "") if not place.startswith(f"{key}.") and place != key]
    named = [place for place in places if place.rpartition(".")[2] == key]
    if named:
        return f"; did you mean {min(named, key=lambda place: place.count('.'))}?"
    hint = nearest(key, known) or nearest(key, [place.rpartition(".")[2] for place in places])
    return hint or (f" with mode=fit but {', '.join(FIT)}" if mode == "fit" else "")


def _is_referred_to(key: str, values: dict[str, Any], before: str = r"(?<![\w.])") -> bool:
    """Whether an interpolation elsewhere names a key, which stands behind what the expression ``before`` matches."""
    name = re.compile(rf"\$\{{.*{before}{re.escape(key)}\b", re.DOTALL)
    others = [value for other, value in values.items() if str(other) != key]
    return any(name.search(text) for value in others for text in _texts(value))


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _texts(child)


def _dotted(node: Any, prefix: str) -> Iterator[str]:
    for name, child in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{name}"
        yield from _dotted(child, f"{prefix}{name}.")
