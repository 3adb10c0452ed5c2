"""Atomic writing: whole files only, valid JSON, exact PNG values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from treg_exp import files
from treg_exp.signals.image import save_png


def test_text_and_json_round_trip_in_new_folders(tmp_path: Path) -> None:
    path = files.write_text(tmp_path / "a" / "b" / "note.txt", "σ = 0.1\n")
    assert path.read_text(encoding="utf-8") == "σ = 0.1\n"
    files.write_json(tmp_path / "v.json", {"mean": math.nan, "list": [1, math.inf, "ä"], "none": None})
    assert json.loads((tmp_path / "v.json").read_text(encoding="utf-8")) == {
        "mean": None,
        "list": [1, None, "ä"],
        "none": None,
    }


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write_text(tmp_path / "x.txt", "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_files_follow_the_umask(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    assert files.write_text(tmp_path / "atomic", "").stat().st_mode == plain.stat().st_mode


def test_append_closes_a_torn_line(tmp_path: Path) -> None:
    path = files.append_json_line(tmp_path / "rows" / "r.jsonl", {"a": 1})
    with path.open("a") as file:
        file.write('{"a": 2, "b')
    files.append_json_line(path, {"a": math.nan})
    assert path.read_text() == '{"a": 1}\n{"a": 2, "b\n{"a": null}\n'


def test_png_values_are_rounded_and_clamped_not_stretched(tmp_path: Path) -> None:
    x = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]).reshape(1, 1, 6)
    grey = np.asarray(Image.open(save_png(x, tmp_path / "g.png")))
    assert grey.tolist() == [[0, 0, 128, 191, 255, 255]]
    rgb = Image.open(save_png(x.expand(3, 2, 6), tmp_path / "c.png"))
    assert (rgb.mode, rgb.size) == ("RGB", (6, 2))


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4), (1, 3, 4, 4)])
def test_png_refuses_what_is_no_image(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"needs a \(3, H, W\)"):
        save_png(torch.zeros(shape), tmp_path / "x.png")
