"""Values of a configuration against the annotations of what takes them."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from treg_exp.errors import ConfigError

_WORDS: dict[type, str] = {
    bool: "true or false", int: "an integer", float: "a number", str: "text", list: "a list", type(None): "null"
}  # fmt: skip


def check_types(callee: Any, values: Mapping[str, Any], section: str) -> None:
    """Plain values and lists must have the type of the annotation (an int will do for a float).

    Args:
        callee: class or function that takes them.
        values: by the names of its parameters.
        section: dotted name of the mapping that they are from, for messages.

    Raises:
        ConfigError: one has not; the message says what is expected.
    """
    try:
        hints = typing.get_type_hints(callee.__init__ if inspect.isclass(callee) else callee)
    except (NameError, TypeError, AttributeError):
        return
    parameters = inspect.signature(callee).parameters
    for name, value in values.items():
        if value is None and name in parameters and parameters[name].default is None:
            continue  # in libraries often without a word in the annotation
        kinds = _kinds(hints.get(name, Any))
        if kinds is None or isinstance(value, dict) or _fits(value, kinds):
            continue
        key = f"{section}.{name}" if section else name
        if value is not None and (own := [kind for kind in kinds if kind.__module__.startswith("treg_exp.")]):
            raise ConfigError(
                f"{key}={value}: must be a mapping with _target_, as "
                f"{' or '.join(sorted(kind.__name__ for kind in own))}; where --help lists a group of that name, "
                f"choose one of its options with / in place of the dot: {key.replace('.', '/')}=..."
            )
        if value is None or kinds <= set(_WORDS):  # a text may stand for an object, as the name of a dtype does
            expected = " or ".join(_WORDS.get(kind, "a value") for kind in kinds)
            given = "null" if value is None else value
            raise ConfigError(f"{key}={given}: must be {expected}")


def _fits(value: Any, kinds: set[type]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, tuple(kinds & set(_WORDS))) or (float in kinds and isinstance(value, int))


def _kinds(hint: Any) -> set[type] | None:
    """The types that an annotation allows, ``list`` for any sequence; None where it allows anything."""
    origin = get_origin(hint) or hint
    if origin is Literal:
        return {type(value) for value in get_args(hint)}
    if origin in (typing.Union, types.UnionType):
        parts = [_kinds(part) for part in get_args(hint)]
        return None if None in parts else set().union(*(part for part in parts if part is not None))
    if origin in (Sequence, tuple):
        return {list}
    return {origin} if isinstance(origin, type) and origin not in (object, Any) else None
