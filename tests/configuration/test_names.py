"""Names become folders, columns and headings: what cannot be one is refused at the start."""

from __future__ import annotations

import pytest

from treg_exp.configuration.names import check_name, check_names, check_sample_ids
from treg_exp.errors import ConfigError

WRONG = {
    "../../evil": "must not begin with", "/tmp/x": "contains '/'", "..": "must not begin with", "": "is empty",
    "a/b": "contains '/'", "a\\b": r"contains '\\'", "target.png": "contains '.'", "[/x]": r"contains '['",
    "[red]x": "contains '['", "a" * 101: "has 101 bytes, at most 100 are possible", "é" * 60: "has 120 bytes",
    " a": "must not begin", "a ": "nor end", "-rf": "must not begin", "a\nb": r"contains '\n'",
    "a\x00": r"contains '\x00'",
    "a\u200bb": r"contains '\u200b'", "a\u00a0b": r"contains '\xa0'", "con:x": "contains ':'", "*": "contains '*'",
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_names_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_names(["fine", name], "variants")
    message = str(caught.value)
    assert message.startswith("variants: the name ")
    assert WRONG[name] in message
    assert message.isprintable()


@pytest.mark.parametrize("name", [False, 1, 1.5, None])
def test_what_yaml_reads_as_no_text(name: object) -> None:
    with pytest.raises(ConfigError, match=rf"^variants: the name {name} is no text; put it between quotes in YAML"):
        check_name(name, "variants")


@pytest.mark.parametrize(
    "name", ["own", "off", "no_text", "other-1", "two words", "Ünï", "猫", "हिन्दी", "a+b", "a" * 100]
)
def test_names_of_any_script_are_fine(name: str) -> None:
    check_names([name], "variants")


def test_names_that_differ_in_case_alone() -> None:
    with pytest.raises(ConfigError, match=r"^variants\.Own: differs from own in upper and lower case alone"):
        check_names(["own", "Own"], "variants")


def test_sample_names() -> None:
    check_sample_ids(["cats__grey.v2", "b", "a" * 255], "data")
    for wrong in ("..", "a/b", "", "a" * 256, "a\0"):
        with pytest.raises(ConfigError, match=r"^data: the sample name "):
            check_sample_ids([wrong], "data")
    with pytest.raises(ConfigError, match=r"^data: the sample name 'a' is there twice$"):
        check_sample_ids(["a", "b", "a"], "data")
    with pytest.raises(ConfigError, match=r"^data: the sample name 3 is no text$"):
        check_sample_ids([3], "data")
