"""From a composed configuration to checked objects: schema, the ``_target_`` allow-list, one-line errors."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import math
import re
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from hydra.errors import HydraException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from treg_exp.errors import ConfigError, nearest
from treg_exp.value_types import check_types

T = TypeVar("T")
ALLOWED_TARGETS = ("treg_exp.", "torch.", "lightning.", "torchmetrics.", "deepinv.")
# What changes no restoration: not part of a run's identity, free to differ when a run is continued.
WITHOUT_IDENTITY = (
    "run_dir", "dry_run", "trainer", "logger", "data.batch_size", "data.verify", "prior.vae_slicing",
    "prior.gradient_checkpointing",
)  # fmt: skip


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
            raise ValueError(f"draws={self.draws}: must be >= 1")


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
            raise ValueError(f"data.limit={self.limit}: must be >= 1, or null for all images")
        if self.offset < 0:
            raise ValueError(f"data.offset={self.offset}: must be >= 0")
        if self.batch_size < 1:
            raise ValueError(f"data.batch_size={self.batch_size}: must be >= 1")


@dataclass(frozen=True)
class TrainerSettings:
    """Devices and processes.

    Attributes:
        accelerator: ``auto``, ``cpu`` or ``gpu``.
        devices: processes on this machine, one device each.
        num_nodes: machines.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1

    def __post_init__(self) -> None:
        if self.accelerator not in ("auto", "cpu", "gpu"):
            raise ValueError(f"trainer.accelerator={self.accelerator}: allowed are auto, cpu, gpu")
        for name in ("devices", "num_nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"trainer.{name}={getattr(self, name)}: must be >= 1")


def settings(kind: type[T], node: DictConfig, section: str = "") -> T:
    """The values of ``node`` that belong to a schema dataclass, with types and ranges checked."""
    values = {f.name: node[f.name] for f in fields(kind) if f.name in node}  # type: ignore[arg-type]
    check_types(kind, values, section)
    try:
        return kind(**values)
    except ValueError as error:
        raise ConfigError(_named(section, str(error))) from None


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
        parameters = inspect.signature(get_object(solver._target_)).parameters
    except (HydraException, OmegaConfBaseException, ImportError, AttributeError, TypeError, ValueError):
        return solver  # `build` says what is wrong with it
    return solver if "steps" in parameters else OmegaConf.masked_copy(solver, [str(k) for k in solver if k != "steps"])


def build(node: DictConfig | None, section: str, kind: type | None = None, **extra: Any) -> Any:
    """The object that a ``_target_`` node describes.

    Args:
        node: configuration node; nested targets are built first.
        section: its dotted name, for messages.
        kind: class that the object must have, None for any.
        extra: further constructor arguments.

    Raises:
        ConfigError: a target outside the allow-list, a value of the wrong type, or whatever the constructor refuses.
    """
    if not isinstance(node, DictConfig) or "_target_" not in node:
        given = "null" if node is None else node
        raise ConfigError(f"{section}={given}: must be a mapping with _target_; to leave it out: '~{section}'")
    _check_targets(OmegaConf.to_container(node, resolve=True), section)
    try:
        made = instantiate(node, _convert_="all", **extra)
    except HydraException as error:
        cause = error.__cause__ or error
        if not isinstance(cause, ValueError | TypeError | OSError | ImportError):
            raise
        found = re.search(r"full_key: (\S+)", str(error))
        raise ConfigError(_named(found.group(1) if found else section, str(cause))) from None
    if kind is not None and not _is_a(made, kind):
        raise ConfigError(f"{section}._target_={node._target_}: makes no {kind.__name__}; choose another option")
    return made


def _is_a(made: Any, kind: type) -> bool:
    """Whether an object is of a class, or has all that a protocol names."""
    if not getattr(kind, "_is_protocol", False):
        return isinstance(made, kind)
    names = {*vars(kind), *kind.__annotations__}
    return all(hasattr(made, name) for name in names if not name.startswith("_"))


def _named(section: str, message: str) -> str:
    """``message`` with the dotted name of the offending value in front."""
    top = section.split(".")[0]
    if not section or message.startswith((f"{top}.", f"{top}=")):
        return message
    return f"{section}.{message}" if re.match(r"[a-z_.]+=", message) else f"{section}: {message}"


def _check_targets(node: Any, section: str) -> None:
    """Every nested target is allowed, exists, takes the given keys, and gets values of the annotated types."""
    if not isinstance(node, dict):
        return
    for name, child in node.items():
        _check_targets(child, f"{section}.{name}")
    target = node.get("_target_")
    if target is None:
        return
    if not str(target).startswith(ALLOWED_TARGETS):
        allowed = ", ".join(a.rstrip(".") for a in ALLOWED_TARGETS)
        raise ConfigError(f"{section}._target_={target}: not allowed; targets must come from {allowed}")
    try:
        callee = get_object(target)
    except (HydraException, ImportError, AttributeError, ValueError):
        raise ConfigError(f"{section}._target_={target}: cannot be imported") from None
    values = {name: value for name, value in node.items() if not name.startswith("_")}
    parameters = inspect.signature(callee).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for name in values:
            if name not in parameters:
                raise ConfigError(f"{section}.{name}: {target} takes no such value{nearest(name, parameters)}")
    check_types(callee, values, section)


def identity(cfg: DictConfig) -> dict[str, Any]:
    """The part of a configuration that decides the results."""
    return decisive(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]


def decisive(values: dict[str, Any]) -> dict[str, Any]:
    """``values`` of a configuration without those that change no restoration."""
    values = copy.deepcopy(values)
    for key in WITHOUT_IDENTITY:
        *parents, leaf = key.split(".")
        node = values
        for parent in parents:
            node = node.get(parent) or {}
        node.pop(leaf, None)
    return values


def config_hash(cfg: DictConfig) -> str:
    """Ten hexadecimal digits that name a run."""
    text = json.dumps(identity(cfg), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def resolved(cfg: DictConfig) -> DictConfig:
    """A copy without interpolations; errors in them and numbers that are none become ConfigErrors."""
    try:
        values = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(" ".join(str(error).split())) from None
    check_finite(values)
    return OmegaConf.create(values)  # type: ignore[return-value]
