"""Values of a configuration against the annotations of what takes them."""

from __future__ import annotations

import inspect
import math
import os
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from treg_exp.errors import ConfigError
from treg_exp.quoting import quoted_override

_WORDS: dict[type, str] = {
    bool: "true or false", int: "an integer", float: "a number", str: "text", list: "a list", dict: "a mapping",
    Mapping: "a mapping", type(None): "null",
}  # fmt: skip


def parameter_hints(callee: Any) -> dict[str, Any]:
    """The annotations of a class's or a function's parameters by name; empty where they cannot be resolved."""
    # The generated constructor of a dataclass lacks the names that its base classes were annotated with.
    for annotated in (callee.__init__, callee) if inspect.isclass(callee) else (callee,):
        try:
            return typing.get_type_hints(annotated)
        except (NameError, TypeError, AttributeError):
            continue
    return {}


def check_types(callee: Any, values: Mapping[str, Any], section: str) -> None:
    """Plain values and lists must have the type of the annotation (an int will do for a float).

    Args:
        callee: class or function that takes them.
        values: by the names of its parameters.
        section: dotted name of the mapping that they are from, for messages.

    Raises:
        ConfigError: one has not; the message says what is expected.
    """
    hints, given = parameter_hints(callee), inspect.signature(callee).parameters
    for name, value in values.items():
        if value is None and name in given and given[name].default is None:
            continue  # in libraries often without a word in the annotation
        _check(value, hints.get(name, Any), f"{section}.{name}" if section else name)


def _check(value: Any, hint: Any, key: str) -> None:
    """Refuse a value that an annotation does not allow, or a list with such an element."""
    kinds = _kinds(hint)
    if kinds is None:
        return
    if _fits(value, kinds):
        if isinstance(value, list):
            _check_elements(value, hint, key)
        return
    shown = {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else value
    if own := [kind for kind in kinds if kind.__module__.startswith("treg_exp.")]:
        raise ConfigError(
            f"{key}={shown}: must be a mapping with _target_, as "
            f"{' or '.join(sorted(kind.__name__ for kind in own))}; where --help lists a group of that name, "
            f"choose one of its options with / in place of the dot: {key.replace('.', '/')}=..."
        )
    if value is None or kinds <= set(_WORDS):  # a text may stand for an object, as the name of a dtype does
        expected = " or ".join(sorted({_WORDS.get(kind, "a value") for kind in kinds}))
        scalar = isinstance(value, bool | int | float)
        typed = f"; as a text: {quoted_override(key, str(shown))}" if str in kinds and scalar else ""
        typed = f", and '{value}' is text; without quotes, or as ${{oc.decode:...}}" if _is_number(value) else typed
        raise ConfigError(f"{key}={shown}: must be {expected}{typed}")


def _is_number(value: Any) -> bool:
    """Whether a text reads as a number, as what ``${oc.env:NAME}`` gives."""
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def _check_elements(values: list[Any], hint: Any, key: str) -> None:
    """Refuse a list of another length than a tuple's annotation has, or with an element that it does not allow."""
    parts = get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    lists = [part for part in parts if get_origin(part) in (Sequence, tuple, list)]
    if len(lists) != 1:
        return
    elements = get_args(lists[0])
    if get_origin(lists[0]) is tuple and Ellipsis not in elements:
        if len(values) != len(elements):
            raise ConfigError(f"{key}={values}: must be a list of {len(elements)}")
    else:
        elements = (elements[0],) * len(values)
    for number, (value, element) in enumerate(zip(values, elements, strict=True)):
        _check(value, element, f"{key}.{number}")


def object_kinds(hint: Any, late: bool = False) -> tuple[type, ...]:
    """The classes that an annotation asks an object to be of; none where it names none.

    Args:
        hint: annotation.
        late: of the objects that are made by calling what is handed over, as ``Callable[..., Operator]`` says.
    """
    origin = get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return tuple(kind for part in get_args(hint) for kind in object_kinds(part, late))
    if origin is Callable:
        return object_kinds(get_args(hint)[-1]) if late else ()
    kind = origin or hint
    return (kind,) if not late and isinstance(kind, type) and kind is not Any and not _is_plain(kind) else ()


def element_hint(hint: Any) -> Any:
    """The annotation of the elements of a sequence or of the values of a mapping."""
    origin, parts = get_origin(hint), [part for part in get_args(hint) if part is not Ellipsis]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(element_hint(part) for part in parts)]  # noqa: UP007  # made while running
    return parts[-1] if parts and isinstance(origin, type) and issubclass(origin, Collection) else Any


def _is_plain(kind: type) -> bool:
    """Whether values of a type stand in a configuration as they are."""
    return kind in (object, Callable) or issubclass(kind, (*_WORDS, tuple, Mapping, Sequence, os.PathLike))


def _fits(value: Any, kinds: set[type]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, dict):  # one with a _target_ becomes an object, whose class is checked then
        return "_target_" in value or any(issubclass(kind, Mapping) for kind in kinds)
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
