"""A composed configuration: plain settings, and checks of the whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from treg_exp.configuration.building import parameters
from treg_exp.configuration.keys import OPTIONAL, check_keys, with_collections
from treg_exp.configuration.places import errors_at, one_line
from treg_exp.configuration.targets import target_class
from treg_exp.configuration.value_types import check_types
from treg_exp.errors import ConfigError, FieldError, nearest
from treg_exp.quoting import literal, quoted_override

T = TypeVar("T")
SMALLEST, LARGEST = 1e-18, 1e18  # of a number in a configuration: squares are still numbers of float32
MOST_RESTORATIONS = 1_000_000  # of one run: its plan is kept in memory, 0.2 KB each


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


def settings(kind: type[T], node: DictConfig, section: str = "", partly: bool = True) -> T:
    """The values of ``node`` that belong to a schema dataclass, with types and ranges checked.

    Args:
        kind: the dataclass.
        node: of the configuration.
        section: its dotted name.
        partly: whether ``node`` may have further values, which somebody else reads.

    Raises:
        ConfigError: a value of the wrong type or out of range, or one that nothing reads.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if not partly and (unread := [str(key) for key in node if key not in names]):
        raise ConfigError(
            f"{section}.{unread[0]}: nothing reads it{nearest(unread[0], names)}; it has {', '.join(names)}"
        )
    plain: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    values = {name: plain[name] for name in names if name in plain}
    check_types(kind, values, section)
    with errors_at(section):
        return kind(**values)


def check_count(per_draw: int, draws: int) -> None:
    """Raise ConfigError for a run of more restorations than can be planned.

    Args:
        per_draw: samples times variants.
        draws: of each.
    """
    if per_draw * draws > MOST_RESTORATIONS:
        raise ConfigError(
            f"draws={draws}: would be {per_draw * draws} restorations, {MOST_RESTORATIONS} at most are one run; "
            "fewer draws, or parts by data.limit and data.offset, help"
        )


def check_numbers(node: Any, name: str = "") -> None:
    """Raise ConfigError for a number that cannot be computed with.

    That is NaN or infinite (comparisons with limits would let NaN pass), or one whose square is no number of float32.
    """
    if isinstance(node, float) and not math.isfinite(node):
        raise ConfigError(f"{name}={node}: must be a finite number")
    if isinstance(node, int | float) and node != 0 and not SMALLEST <= abs(node) <= LARGEST:
        raise ConfigError(f"{name}={node}: must be 0 or between {SMALLEST:g} and {LARGEST:g} in magnitude")
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        check_numbers(child, f"{name}.{key}" if name else str(key))


def check_complete(cfg: DictConfig) -> None:
    """Raise ConfigError for values that the user has to give (``???``) and did not."""
    if missing := sorted(_missing(OmegaConf.to_container(cfg, resolve=False))):
        key = missing[0]
        raise ConfigError(f"{key} has no value: add {key}=... to the command")


def _missing(node: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of the values that are ``???``."""
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if child == "???":
            yield f"{prefix}{key}"
        yield from _missing(child, f"{prefix}{key}.")


def with_values_placed(solver: DictConfig) -> DictConfig:
    """``solver`` as its class takes it, whatever solver an experiment's values were written for.

    One that runs another solver, ``of``, hands on what that one takes and itself does not. ``steps``, which
    debug=default gives to every solver, is left out where none takes it.

    Raises:
        ConfigError: ``of`` has another value than the one to hand on, and not by default.
    """
    try:
        taken = parameters(solver, "solver")
        inner = parameters(solver.of, "solver.of") if "of" in taken and "of" in solver else {}
    except ConfigError:
        return solver  # `build` says what is wrong with it
    handed = [str(key) for key in solver if key not in taken and key in inner]
    others = [str(key) for key in solver if key not in handed and (key in taken or key != "steps")]
    placed = OmegaConf.masked_copy(solver, others)
    if handed:
        given = OmegaConf.masked_copy(solver, handed)
        _refuse_two_values(given, solver.of, _default(solver.of))
        placed.of = OmegaConf.merge(placed.of, given)
    return placed


def _default(node: DictConfig) -> Any:
    """What the class of a node makes of no values at all; None where it needs some."""
    try:
        return target_class(node.get("_target_"), "solver.of")()
    except (TypeError, ValueError):
        return None


def _refuse_two_values(given: Any, own: Any, default: Any, key: str = "") -> None:
    """Raise ConfigError where a value would take the place of another one that somebody has set."""
    if isinstance(given, DictConfig) and isinstance(own, DictConfig):
        for name in map(str, given):
            if name in own:
                _refuse_two_values(given[name], own[name], getattr(default, name, own[name]), f"{key}.{name}")
    elif own not in (given, default):
        raise ConfigError(
            f"solver.of{key}={own}: solver{key}={given}, of the experiment or the command, is meant for it too; give "
            f"solver{key} the value that you want, and leave out solver.of{key}"
        )


def prepared(cfg: DictConfig) -> DictConfig:
    """A composed configuration as pieces are built from it: complete, and without interpolations.

    It does not change a second time.

    Raises:
        ConfigError: a value is missing, or one that nothing reads or can be computed with.
    """
    check_complete(cfg)
    cfg = resolved(cfg)
    if cfg.get("mode") != "fit":
        cfg.solver = with_values_placed(cfg.solver)
    return cfg


def resolved(cfg: DictConfig) -> DictConfig:
    """A copy without interpolations and with nothing that nothing reads.

    Raises:
        ConfigError: a key that nothing reads, a group that is missing, an interpolation that leads nowhere, a number
            that is none.
    """
    helpers = check_keys(cfg)
    try:
        values: Any = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_unresolved(error, cfg)) from None
    left_out = {*helpers, *(key for key in OPTIONAL if not values.get(key))}
    values = {key: value for key, value in values.items() if key not in left_out}
    check_numbers(values)
    if values.get("mode") != "fit":
        values = with_collections(values)
    return OmegaConf.create(_literal(values))  # type: ignore[no-any-return]


def _unresolved(error: OmegaConfBaseException, cfg: DictConfig) -> str:
    """What is wrong with an interpolation, and how its characters are said to be a text."""
    said, key = " ".join((error.msg or "").split("\n")[0].split()), str(error.full_key or "")
    try:
        node = OmegaConf.to_container(cfg, resolve=False)
        for part in key.split("."):
            node = node[int(part) if isinstance(node, list) else part]  # type: ignore[index]
    except (KeyError, ValueError, TypeError, IndexError):
        return one_line(error)
    if not isinstance(node, str):
        return f"{key}: {said}"
    return f"{key}={node}: {said}; a text with these characters is written {quoted_override(key, node)}"


def _literal(node: Any) -> Any:
    """A copy in which ``${`` of a text is not read as an interpolation once more."""
    if isinstance(node, dict):
        return {name: _literal(child) for name, child in node.items()}
    if isinstance(node, list):
        return [_literal(child) for child in node]
    return literal(node) if isinstance(node, str) else node
