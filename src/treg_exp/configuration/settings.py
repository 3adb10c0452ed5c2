"""A composed configuration: plain settings, checks of the whole, and the part that makes a run's identity."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from treg_exp.configuration.building import takes
from treg_exp.configuration.places import errors_at, one_line
from treg_exp.configuration.targets import target_class
from treg_exp.configuration.value_types import check_types
from treg_exp.errors import ConfigError, FieldError

T = TypeVar("T")
# What changes no restoration: not part of a run's identity, free to differ when a run is continued. A class names such
# values of its own in `not_identity`.
NOT_IDENTITY = ("run_dir", "dry_run", "trainer", "logger", "data.batch_size")


@dataclass(frozen=True)
class RunSettings:
    """Top-level values.

    Attributes:
        seed: of the solvers' random streams.
        draws: restorations per image and variant.
        run_dir: run folder, None for ``runs/<hash>``.
        dry_run: print the plan and stop.
    """

    seed: int = 0
    draws: int = 1
    run_dir: str | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise FieldError("draws", self.draws, "must be >= 1")


@dataclass(frozen=True)
class DataSettings:
    """Values of the ``data`` group that are not the data set's own.

    Attributes:
        limit: number of images, None for all.
        offset: images to leave out at the start.
        batch_size: work items that are restored together; changes speed and memory, and results by rounding only.
    """

    limit: int | None = None
    offset: int = 0
    batch_size: int = 8

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise FieldError("limit", self.limit, "must be >= 1")
        if self.offset < 0:
            raise FieldError("offset", self.offset, "must be >= 0")
        if self.batch_size < 1:
            raise FieldError("batch_size", self.batch_size, "must be >= 1")


def settings(kind: type[T], node: DictConfig, section: str = "") -> T:
    """The values of ``node`` that belong to a schema dataclass, with types and ranges checked."""
    plain: dict[str, Any] = OmegaConf.to_container(node)  # type: ignore[assignment]
    values = {f.name: plain[f.name] for f in fields(kind) if f.name in plain}  # type: ignore[arg-type]
    check_types(kind, values, section)
    with errors_at(section):
        return kind(**values)


def check_finite(node: Any, name: str = "") -> None:
    """Raise ConfigError for a number that is NaN or infinite: comparisons with limits would let NaN pass."""
    if isinstance(node, float) and not math.isfinite(node):
        raise ConfigError(f"{name}={node}: must be a finite number")
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        check_finite(child, f"{name}.{key}" if name else str(key))


def check_complete(cfg: DictConfig) -> None:
    """Raise ConfigError for values that the user has to give (``???``) and did not."""
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        key = missing[0]
        raise ConfigError(f"{key} has no value: add {key}=... to the command")


def without_steps(solver: DictConfig) -> DictConfig:
    """``solver`` without ``steps``, which debug=default gives to every solver, where it takes none."""
    try:
        keep = takes(solver, "solver", "steps")
    except ConfigError:
        return solver  # `build` says what is wrong with it
    return solver if keep else OmegaConf.masked_copy(solver, [str(k) for k in solver if k != "steps"])


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


def config_hash(cfg: DictConfig) -> str:
    """Ten hexadecimal digits that name a run."""
    text = json.dumps(identity(cfg), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def resolved(cfg: DictConfig) -> DictConfig:
    """A copy without interpolations; errors in them and numbers that are none become ConfigErrors."""
    try:
        values = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error)) from None
    check_finite(values)
    return OmegaConf.create(values)  # type: ignore[return-value]
