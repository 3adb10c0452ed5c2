"""From a node with a ``_target_`` to the object that it describes.

Small on purpose, in place of Hydra's ``instantiate``: a node names a class that `targets` allows, its place says of
which kind the class must be, its values are checked against the annotations, and nested nodes are built the same way,
each for the annotation of its parameter. So a configuration can put pieces together, and nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf

from treg_exp.configuration.places import errors_at
from treg_exp.configuration.targets import LIBRARY_CLASSES, target_class
from treg_exp.configuration.value_types import check_types, element_hint, object_kinds, parameter_hints
from treg_exp.errors import ConfigError, nearest

SPECIAL = ("_target_", "_partial_", "_convert_")
_CONTAINERS = ("__call__", "__len__", "__getitem__", "__iter__")  # of the dunder methods, what a protocol may ask for


def build(node: DictConfig | Mapping[str, Any] | None, section: str, kind: Any, **given: Any) -> Any:
    """The object that a ``_target_`` node describes.

    Args:
        node: of the configuration; nested nodes are built first.
        section: its dotted name, for messages.
        kind: what the object must be: a class, a protocol, or any annotation, as ``Callable[..., Optimizer]`` for a
            node with ``_partial_: true``.
        given: further arguments of the constructor.

    Raises:
        ConfigError: a class that is not allowed here, a value of the wrong type, or whatever the constructor refuses.
    """
    plain: Any = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
    if not isinstance(plain, Mapping) or "_target_" not in plain:
        shown = "null" if node is None else node
        raise ConfigError(f"{section}={shown}: must be a mapping with _target_; to leave it out: '~{section}'")
    return _object(plain, kind, section, given)


def parameters(node: Any, section: str) -> Mapping[str, inspect.Parameter]:
    """What the class of a node takes, by name.

    Raises:
        ConfigError: it names no class, or none that is allowed.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(f"{section}={node}: must be a mapping with _target_")
    return inspect.signature(target_class(node.get("_target_"), section)).parameters


def check_values(
    kind: type, values: Mapping[str, Any], path: str, given: Collection[str] = (), late: bool = False
) -> None:
    """Refuse values that a class does not take or of another type, and say which ones it needs and does not get.

    Args:
        kind: the class.
        values: of the configuration, by name.
        path: their place.
        given: names of arguments that the program adds.
        late: whether further arguments come later.

    Raises:
        ConfigError: about the first such value.
    """
    taken, allowed = inspect.signature(kind).parameters, _allowed(kind)
    for name in (*values, *given):
        if allowed is not None and name not in allowed:
            raise ConfigError(f"{path}.{name}: {kind.__name__} takes no such value{nearest(str(name), allowed)}")
    fixed = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [name for name, p in taken.items() if p.kind in fixed and p.default is p.empty]
    if not late and (missing := [name for name in needed if name not in (*values, *given)]):
        raise ConfigError(f"{path}.{missing[0]} has no value, and {kind.__name__} needs one: +{path}.{missing[0]}=...")
    check_types(kind, values, path)


def _object(node: Mapping[str, Any], hint: Any, path: str, given: Mapping[str, Any]) -> Any:
    """The object of one node, for a place with this annotation."""
    for key in node:
        if str(key).startswith("_") and key not in SPECIAL:
            raise ConfigError(f"{path}.{key}: not allowed; a node has _target_ and the values of its class by name")
    late = node.get("_partial_", False)
    if not isinstance(late, bool):
        raise ConfigError(f"{path}._partial_={late}: must be true or false")
    if node.get("_convert_", "all") != "all":
        raise ConfigError(f"{path}._convert_={node['_convert_']}: must be all; lists and mappings are always plain")
    kind = target_class(node["_target_"], path)
    _check_kind(kind, hint, late, f"{path}._target_={node['_target_']}")
    values = {name: value for name, value in node.items() if name not in SPECIAL}
    check_values(kind, values, path, (*given,), late)
    hints = parameter_hints(kind)
    made = {name: _value(value, hints.get(name, Any), f"{path}.{name}") for name, value in values.items()}
    constructor: Callable[..., Any] = kind
    make = partial(constructor, **made, **given)
    if late:
        return make
    with errors_at(path, node):
        built: Any = make()
    _check_members(built, hint, f"{path}._target_={node['_target_']}")
    return built


def _value(value: Any, hint: Any, path: str) -> Any:
    """A value with every node in it built, however deep in lists and mappings."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return _object(value, hint, path, {})
        return {name: _value(child, element_hint(hint), f"{path}.{name}") for name, child in value.items()}
    if isinstance(value, list):
        return [_value(child, element_hint(hint), f"{path}.{number}") for number, child in enumerate(value)]
    return value


def _check_kind(kind: type, hint: Any, late: bool, key: str) -> None:
    """Refuse a class that is of none of the kinds that a place takes, before anything of it is called."""
    wanted = object_kinds(hint, late)
    if not wanted and (others := object_kinds(hint, not late)):
        names = " or ".join(other.__name__ for other in others)
        told = "must not have _partial_: true" if late else "needs _partial_: true"
        raise ConfigError(f"{key}: {told}, the {names} is made {'now' if late else 'later'}")
    if not wanted:
        raise ConfigError(f"{key}: not allowed; nothing says which class this place takes (its annotation should)")
    if not any(_fits(kind, one) for one in wanted):
        names = " or ".join(sorted(one.__name__ for one in wanted))
        raise ConfigError(f"{key}: makes no {names}; choose another option")


def _fits(kind: type, wanted: type) -> bool:
    """Whether a class is of a kind; of a protocol, it must have the methods."""
    if not getattr(wanted, "_is_protocol", False):
        return issubclass(kind, wanted)
    return all(
        callable(getattr(kind, name, None)) for name in _members(wanted) if callable(getattr(wanted, name, None))
    )


def _check_members(built: Any, hint: Any, key: str) -> None:
    """Refuse an object that lacks an attribute of every protocol that its place takes; properties are not read."""
    absent = object()
    lacking = [
        [name for name in _members(wanted) if inspect.getattr_static(built, name, absent) is absent]
        for wanted in object_kinds(hint)
        if _fits(type(built), wanted)
    ]
    if lacking and all(lacking):
        raise ConfigError(f"{key}: has no {lacking[0][0]}, which is needed here")


def _members(protocol: type) -> list[str]:
    """Names of what a protocol asks for; none for other classes, which are asked for themselves."""
    bases = [base for base in protocol.__mro__ if getattr(base, "_is_protocol", False) and base.__module__ != "typing"]
    names = [name for base in bases for name in (*vars(base), *base.__annotations__)]
    return [name for name in names if not name.startswith("_") or name in _CONTAINERS]


def _allowed(kind: type) -> set[str] | None:
    """Names of the values that a class takes; None where it takes any.

    A library's class with ``**kwargs`` hands them to its base classes, which name them, or drops them without a word.
    """
    taken = inspect.signature(kind).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        return set(taken)
    if kind.__module__.partition(".")[0] not in {module.partition(".")[0] for module in LIBRARY_CLASSES}:
        return None
    return {name for base in kind.__mro__ for name in inspect.signature(base.__init__).parameters} - {"self"}  # type: ignore[misc]
