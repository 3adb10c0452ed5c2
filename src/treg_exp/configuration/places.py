"""Errors of the library, with their place in the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from treg_exp.errors import ConfigError, FieldError

# What the library cannot know: which options of the configuration help. By the end of the key that an error is about.
ADVICE: Mapping[str, str] = {
    "data.image_size": "null is the prior's own size",
    "data.limit": "null is all of them",
    "prompt.role": (
        "Choose another prompt (prompt=fixed prompt.text='a red apple'), add the texts (data.manifest=FILE, such as "
        "metadata.jsonl; data.captions of tables and shards), or select the samples that "
        "have one (data=emoji_test: data.only=counterfactual)"
    ),
    "null_text": "null_text=fixed and null_text=off need none",
    "text_match.open_clip": "text_match=off needs none",
    "solver.prox": "choose it with solver/prox=exact or solver/prox=descent",
    "last_step": "last_step=off needs none",
    "last_step.prox": "choose it with solver/prox@last_step.prox=exact or solver/prox@last_step.prox=descent",
    "solver.of.prox": "choose it with solver/prox@solver.of.prox=exact or solver/prox@solver.of.prox=descent",
}


@contextmanager
def errors_at(path: str, node: Any = None, renamed: Mapping[str, str] | None = None) -> Iterator[None]:
    """Turn errors of wrong values into ConfigErrors that say where the value stands.

    TypeErrors and OSErrors are among them: pieces are built from values that only they can judge.

    Args:
        path: dotted name of the piece that may raise.
        node: its configuration as plain values. A field that stands in one of its nested nodes alone is found there.
        renamed: first part of a field -> its place, for arguments that have a place of their own.
    """
    try:
        yield
    except ConfigError:
        raise
    except FieldError as error:
        raise ConfigError(_placed(error, path, node, renamed or {})) from error
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise ConfigError(f"{path}: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """What an error says, without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def _placed(error: FieldError, path: str, node: Any, renamed: Mapping[str, str]) -> str:
    """The message with the whole key."""
    first, _, rest = error.field.partition(".")
    if first in renamed:
        key = ".".join(part for part in (renamed[first], rest) if part)
        return _advised(key, FieldError(key, error.value, error.allowed))
    field = error.field if node is None or not error.field else _find(node, error.field)
    if field is None:  # no value of the configuration
        return f"{path}: {one_line(error)}"
    found = error if field == error.field else FieldError(field, error.value, error.allowed)
    key = ".".join(part for part in (path, field) if part)
    return _advised(key, found.at(path))


def _advised(key: str, error: FieldError) -> str:
    text = one_line(error)
    advice = next((said for end, said in ADVICE.items() if f".{key}".endswith(f".{end}")), None)
    return text if advice is None else f"{text.rstrip('.')}{'. ' if advice[0].isupper() else '; '}{advice}"


def _find(node: Any, field: str) -> str | None:
    """The dotted key of a field in a node: its own, or the only nested one that ends so; None where there is none."""
    if _has(node, field):
        return field
    nested = _nested(node, field)
    if len(nested) == 1:
        return nested[0]
    _, dot, rest = field.partition(".")  # a piece that is made in between has a name that the configuration lacks
    return _find(node, rest) if dot and not nested else None


def _has(node: Any, field: str) -> bool:
    """Whether a node has a value of this dotted name."""
    first, _, rest = field.partition(".")
    if not isinstance(node, Mapping):
        return False
    return first in node and (not rest or _has(node[first], rest))


def _nested(node: Any, field: str) -> list[str]:
    if not isinstance(node, Mapping):
        return []
    return [
        f"{name}.{key}"
        for name, child in node.items()
        for key in ([field] if _has(child, field) else _nested(child, field))
    ]
