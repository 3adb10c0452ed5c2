"""What a value may be where an annotation says little."""

from __future__ import annotations

from typing import Any

import pytest

from treg_exp.configuration.value_types import check_types
from treg_exp.errors import ConfigError


def test_null_is_fine_where_anything_is_or_where_it_is_the_default() -> None:
    def callee(anything: Any, unknown, default: int = None, maybe: int | None = 3, needed: int = 3):  # noqa: RUF013
        pass

    check_types(callee, dict.fromkeys(("anything", "unknown", "default", "maybe")), "x")
    with pytest.raises(ConfigError, match=r"^x\.needed=null: must be an integer$"):
        check_types(callee, {"needed": None}, "x")
