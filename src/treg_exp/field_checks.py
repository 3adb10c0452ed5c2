"""Checks of fields that many pieces share; each error names the field, its value and what is allowed."""

from __future__ import annotations

from typing import Any, get_args

from treg_exp.errors import FieldError


def check_choices(piece: object, **kinds: Any) -> None:
    """FieldError unless each field is one of the values of its ``Literal``."""
    for name, kind in kinds.items():
        if (value := getattr(piece, name)) not in get_args(kind):
            raise FieldError(name, value, f"allowed are {', '.join(get_args(kind))}")


def check_at_least(piece: object, least: float, *names: str) -> None:
    """FieldError unless each field is so large; nan is not."""
    for name in names:
        if not (value := getattr(piece, name)) >= least:
            raise FieldError(name, value, f"must be >= {least}")


def check_positive(piece: object, *names: str) -> None:
    """FieldError unless each field is above 0."""
    for name in names:
        if not (value := getattr(piece, name)) > 0:
            raise FieldError(name, value, "must be > 0")


def check_shares(piece: object, *names: str) -> None:
    """FieldError unless each field is in [0, 1]."""
    for name in names:
        if not 0 <= (value := getattr(piece, name)) <= 1:
            raise FieldError(name, value, "must be in [0, 1]")


def check_integers(piece: object, least: int, *names: str) -> None:
    """FieldError unless each field is an integer, and so large."""
    for name in names:
        value = getattr(piece, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise FieldError(name, value, f"must be an integer >= {least}")
