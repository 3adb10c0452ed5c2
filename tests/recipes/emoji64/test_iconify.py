"""Icon sets: matching by name, mirrored aliases, drawing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from treg_exp.recipes.emoji64.iconify import names_by_codepoint, rasterise, read_icon_set, svg_of
from treg_exp.recipes.emoji64.sources import ICON_SETS

LEFT_HALF_RED = '<path fill="#f00" d="M0 0h8v16H0z"/>'
ICONS: dict[str, Any] = {
    "icons": {
        "red-apple": {"body": LEFT_HALF_RED},
        "tiger": {"body": LEFT_HALF_RED},
        "left-arrow": {"body": LEFT_HALF_RED, "width": 16, "height": 16},
        "flag-for-japan": {"body": LEFT_HALF_RED},
    },
    "aliases": {"right-arrow": {"parent": "left-arrow", "hFlip": True}},
    "width": 16,
    "height": 16,
}


def entry(unified: str, name: str, subcategory: str = "", short_names: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "unified": unified,
        "name": name,
        "short_names": list(short_names),
        "category": "Objects",
        "subcategory": subcategory,
    }


def test_icons_are_found_by_common_name_own_name_short_name_and_place(tmp_path: Path) -> None:
    (tmp_path / "icons.json").write_text(json.dumps(ICONS))
    (tmp_path / "chars.json").write_text(json.dumps({"27a1": "right-arrow"}))
    catalogue = tmp_path / "emoji.json"
    entries = [
        entry("1F34E", "RED APPLE"),
        entry("27A1-FE0F", "BLACK RIGHTWARDS ARROW"),
        entry("1F1EF-1F1F5", "Japan Flag", "country-flag"),
        entry("1F405", "TIGER"),
        entry("1F42F", "TIGER FACE", short_names=("tiger",)),
        entry("1F4A9", "PILE OF POO"),
    ]
    catalogue.write_text(json.dumps(entries))
    found = read_icon_set(ICON_SETS[0], tmp_path, catalogue, names_by_codepoint(tmp_path))
    # Both tiger entries claim the one icon, so neither gets it.
    assert [picture.name for picture, _ in found] == ["red apple", "black rightwards arrow", "flag of japan"]
    assert {picture.style for picture, _ in found} == {ICON_SETS[0].style}
    apple, arrow = found[0][1], found[1][1]
    np.testing.assert_array_equal(apple[:, ::-1], arrow)


def test_a_drawing_lies_on_white() -> None:
    picture = rasterise(svg_of(ICONS, "red-apple"))
    assert picture.shape == (64, 64, 3)
    np.testing.assert_array_equal(picture[32, 8], [255, 0, 0])
    np.testing.assert_array_equal(picture[32, 56], [255, 255, 255])


def test_a_missing_renderer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    with pytest.raises(RuntimeError, match="resvg-py"):
        rasterise(svg_of(ICONS, "red-apple"))
