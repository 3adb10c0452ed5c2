from __future__ import annotations

import json
from pathlib import Path

import pytest

from treg_exp.engine.run_folder import RunFolder, difference, environment
from treg_exp.errors import ConfigError


def test_another_configuration_is_refused_by_name(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.open({"seed": 0}, {"seed": 0, "solver": {"steps": 5}})
    folder.open({"seed": 0}, {"seed": 0, "solver": {"steps": 5}})
    with pytest.raises(ConfigError, match=r"solver\.steps=5, this one has solver\.steps=6"):
        folder.open({"seed": 0}, {"seed": 0, "solver": {"steps": 6}})


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match="is not empty and holds no run"):
        RunFolder(tmp_path).open({}, {})
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_torn_rows_do_not_count(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append("rows", 0, [{"sample_id": "a", "variant": "own", "draw": 0, "psnr": float("nan")}])
    with open(tmp_path / "rows" / "rank-0.jsonl", "a") as stream:
        stream.write('{"sample_id": "b", "vari')
    assert folder.finished() == {("a", "own", 0)}
    folder.append("rows", 0, [{"sample_id": "c", "variant": "own", "draw": 0}])
    assert folder.finished() == {("a", "own", 0), ("c", "own", 0)}
    folder.write_status("running", 5, 1)
    status = json.loads((tmp_path / "status.json").read_text())
    assert {k: status[k] for k in ("state", "expected", "finished", "failed")} == {
        "state": "running", "expected": 5, "finished": 2, "failed": 1,
    }  # fmt: skip


def test_paths_of_draws(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    one, several = (folder.reconstruction(("a", "own", 3), draws) for draws in (1, 10))
    assert one.relative_to(tmp_path).as_posix() == "samples/a/own/reconstruction.png"
    assert several.relative_to(tmp_path).as_posix() == "samples/a/own/draw_003/reconstruction.png"


def test_first_difference() -> None:
    assert difference({"a": {"b": 1}, "c": 2}, {"a": {"b": 1}, "c": 2}) is None
    assert difference({"a": {"b": 1}}, {"a": {"b": 1}, "c": 2}) == ("c", None, 2)


def test_environment_names_versions() -> None:
    packages = environment()["packages"]
    assert packages["torch"]
    assert packages["treg_exp"]
