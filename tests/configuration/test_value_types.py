"""What a value may be where an annotation says little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest

from treg_exp.configuration.value_types import check_types
from treg_exp.errors import ConfigError


def test_null_is_fine_where_anything_is_or_where_it_is_the_default() -> None:
    def callee(anything: Any, unknown, default: int = None, maybe: int | None = 3, needed: int = 3):  # noqa: RUF013
        pass

    check_types(callee, dict.fromkeys(("anything", "unknown", "default", "maybe")), "x")
    with pytest.raises(ConfigError, match=r"^x\.needed=null: must be an integer$"):
        check_types(callee, {"needed": None}, "x")


def callee(
    pair: tuple[int, float] = (1, 2), some: Sequence[float] = (), rows: Sequence[list[int]] = (),
    roles: Mapping[str, str] | None = None, either: Literal["a", "b"] | None = None, number: float = 1, text: str = "",
    any_of: Sequence[int] | str = "",
):  # fmt: skip
    pass


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pair", [1], r"^x\.pair=\[1\]: must be a list of 2$"),
        ("pair", [1.5, 1], r"^x\.pair\.0=1\.5: must be an integer$"),
        ("some", [1, "a"], r"^x\.some\.1=a: must be a number$"),
        ("some", [True], r"^x\.some\.0=true: must be a number$"),
        ("rows", [[1], ["b"]], r"^x\.rows\.1\.0=b: must be an integer$"),
        ("roles", "a", r"^x\.roles=a: must be a mapping or null$"),
        (
            "number",
            "3",
            r"^x\.number=3: must be a number, and '3' is text; without quotes, or as \$\{oc\.decode:\.\.\.\}$",
        ),
        ("number", "nan", r"^x\.number=nan: must be a number$"),
        ("number", {"a": 1}, r"^x\.number=\{'a': 1\}: must be a number$"),
        ("text", 3, r"^x\.text=3: must be text; as a text: 'x\.text=\"3\"'$"),
        ("text", True, r"^x\.text=true: must be text; as a text: 'x\.text=\"true\"'$"),
        ("text", [], r"^x\.text=\[\]: must be text$"),
        ("any_of", [1, "a"], r"^x\.any_of\.1=a: must be an integer$"),
    ],
)
def test_values_that_an_annotation_does_not_allow(name: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_types(callee, {name: value}, "x")


def test_values_that_it_allows() -> None:
    fine: list[dict[str, Any]] = [
        {"pair": [1, 2]}, {"some": [1, 2.5]}, {"some": []}, {"rows": [[1], []]}, {"roles": {"a": "b"}},
        {"either": None}, {"roles": None},
        {"number": 3}, {"number": {"_target_": "x.Y"}}, {"any_of": "a"}, {"any_of": [1]},
    ]  # fmt: skip
    for values in fine:
        check_types(callee, values, "x")
