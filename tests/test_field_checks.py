"""Checks of fields: what passes, and what the error says."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_at_least, check_choices, check_integers, check_positive, check_shares

CHECKS: dict[str, tuple[Callable[[Any], None], list[Any], list[Any], str]] = {
    "choices": (lambda p: check_choices(p, x=Literal["a", "b"]), ["a", "b"], ["c", None], "allowed are a, b"),
    "at least": (lambda p: check_at_least(p, 0, "x"), [0, 0.5, math.inf], [-1e-9, math.nan], "must be >= 0"),
    "positive": (lambda p: check_positive(p, "x"), [1e-9, 3], [0, -1, math.nan], "must be > 0"),
    "shares": (lambda p: check_shares(p, "x"), [0, 0.5, 1], [-0.1, 1.1, math.nan], "must be in [0, 1]"),
    "integers": (lambda p: check_integers(p, 2, "x"), [2, 7], [1, 2.0, True, None], "must be an integer >= 2"),
}


@pytest.mark.parametrize("name", CHECKS)
def test_what_is_allowed_passes_and_the_rest_is_named(name: str) -> None:
    check, good, bad, allowed = CHECKS[name]
    for value in good:
        check(SimpleNamespace(x=value))
    for value in bad:
        with pytest.raises(FieldError) as caught:
            check(SimpleNamespace(x=value))
        assert (caught.value.field, caught.value.allowed) == ("x", allowed)
