from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.engine.plans import plan_of
from treg_exp.configuration.identity import hash_of
from treg_exp.engine.environment import environment, read_noted
from treg_exp.engine.run_folder import RunFolder, difference
from treg_exp.errors import ConfigError, RunBusyError, RunFailedError
from treg_exp.files import WriteError, write_bytes
from treg_exp.run_layout import RECONSTRUCTION, RunLayout, key_of, picture

PLAN = plan_of("abcd")


def test_another_configuration_is_refused_by_name(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", PLAN)
    folder.open({"seed": 0}, {"seed": 0, "solver": {"steps": 5}})
    folder.close()
    folder.open({"seed": 0}, {"seed": 0, "solver": {"steps": 5}})
    folder.close()
    with pytest.raises(ConfigError, match=r"solver\.steps=5, this one has solver\.steps=6"):
        folder.open({"seed": 0}, {"seed": 0, "solver": {"steps": 6}})


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match=r"is not empty and holds no run, but thesis\.tex; choose another folder"):
        RunFolder(tmp_path, PLAN).open({}, {})
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", [".git", ".notes.tmp", ".config.yaml.swp"])
def test_hidden_files_of_others_are_other_things(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(ConfigError, match=f"holds no run, but {name};"):
        RunFolder(tmp_path, PLAN).open({}, {})
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_temporary_files_of_others_are_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, PLAN)
    folder.open({}, {"seed": 0})
    folder.close()
    theirs = [tmp_path / ".notes.tmp", tmp_path / "samples" / ".x.0123456789abcdef.tmp"]
    ours = [tmp_path / "samples" / ".x.png.0123456789ab.tmp", folder.layout.batches]
    ours[0].parent.mkdir()
    for file in (*theirs, *ours):
        file.write_text("")
    folder.open({}, {"seed": 0})
    assert [file.exists() for file in (*theirs, *ours)] == [True, True, False, False]


@pytest.mark.parametrize("content", ["", '{"seed": 0', "[]"])
def test_a_damaged_identity_is_named(tmp_path: Path, content: str) -> None:
    folder = RunFolder(tmp_path, PLAN)
    folder.open({}, {"seed": 0})
    folder.close()
    folder.layout.identity.write_text(content)
    with pytest.raises(ConfigError, match=r"cannot be continued: .*/identity\.json is damaged: .*; choose another"):
        folder.open({}, {"seed": 0})
    folder.layout.identity.write_text('{"seed": 0}')
    folder.open({}, {"seed": 0})  # the lock was given back


def test_a_damaged_environment_is_written_anew(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, PLAN)
    folder.layout.environment.write_text('{"prec')
    assert read_noted(folder.layout.environment) == {}
    folder.write_environment("float32")
    assert json.loads(folder.layout.environment.read_text())["precision"] == "float32"


def test_a_deleted_folder_is_not_made_anew(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "r", PLAN)
    folder.open({}, {"seed": 0})
    shutil.rmtree(tmp_path / "r")
    with pytest.raises(RunFailedError, match=r"run_dir=.*/r was deleted while the run wrote into it"):
        folder.require()
    folder.write_end("failed")
    assert not (tmp_path / "r").exists()


def test_the_end_of_a_run_is_told_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path, PLAN)
    folder.open({}, {"seed": 0})
    folder.write_status("running")

    def full(path: Path, data: bytes) -> Path:
        raise WriteError(path, OSError(28, "No space left on device"))

    monkeypatch.setattr("treg_exp.files.write_bytes", full)
    folder.write_end("failed", error="disk")
    status = json.loads(folder.layout.status.read_text())
    assert (status["state"], status["expected"], status["error"]) == ("failed", 4, "disk")


def test_torn_rows_do_not_count(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, PLAN)
    folder.append(0, [{"sample_id": "a", "variant": "own", "draw": 0, "psnr": float("nan")}], [])
    with open(tmp_path / "rows" / "rank-0.jsonl", "a") as stream:
        stream.write('{"sample_id": "b", "vari')
    assert folder.finished().tolist() == [True, False, False, False]
    folder.append(0, [{"sample_id": "c", "variant": "own", "draw": 0}], [])
    assert folder.finished().tolist() == [True, False, True, False]


def test_status_counts_the_work_items_of_the_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, PLAN)
    a, b, c, old = ({"sample_id": name, "variant": "own", "draw": 0} for name in ("a", "b", "c", "old"))
    folder.append(0, [a, old], [b, old])  # b failed, and was restored since
    folder.append(1, [b], [c, c])  # c failed twice
    folder.write_status("running", error="none")
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status.pop("host"), status.pop("pid")) == (socket.gethostname(), os.getpid())
    assert status.pop("started") <= status.pop("updated")
    assert status.pop("begun_with") == 2
    assert 0 <= status.pop("seconds") < 60
    assert status == {"state": "running", "expected": 4, "finished": 2, "failed": 1, "error": "none"}
    assert folder.failed().tolist() == [False, False, True, False]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "r", PLAN), RunFolder(tmp_path / "r", PLAN)
    first.open({}, {"seed": 0})
    with pytest.raises(ConfigError, match="is being written by another process"):
        second.open({}, {"seed": 0})
    first.close()
    second.open({}, {"seed": 0})


def test_a_process_killed_at_the_very_start_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".identity.json.0123456789ab.tmp").write_text("{")
    folder = RunFolder(tmp_path, PLAN)
    folder.open({"seed": 0}, {"seed": 0})
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "config.yaml", "identity.json"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "r").touch()
    with pytest.raises(ConfigError, match="is a file"):
        RunFolder(tmp_path / "r", PLAN).open({}, {})


def test_paths_of_draws(tmp_path: Path) -> None:
    layout, key = RunLayout(tmp_path), ("a", "own", 3)
    one, several = (layout.restoration(key, draws) for draws in (1, 10))
    assert one.relative_to(tmp_path).as_posix() == "samples/a/own"
    assert several.relative_to(tmp_path).as_posix() == "samples/a/own/draw_003"
    assert layout.found(key) == several
    write_bytes(picture(one, RECONSTRUCTION), b"")
    assert layout.found(key) == one
    assert key_of({"sample_id": "a", "variant": "own"}) == ("a", "own", 0)


def test_first_difference() -> None:
    assert difference({"a": {"b": 1}, "c": 2}, {"a": {"b": 1}, "c": 2}) is None
    assert difference({"a": {"b": 1}}, {"a": {"b": 1}, "c": 2}) == ("c", None, 2)


def test_environment_names_versions() -> None:
    packages = environment()["packages"]
    assert packages["torch"]
    assert packages["treg_exp"]


def test_a_folder_that_nobody_may_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"run_dir=.*/file/r cannot be written: Not a directory; choose another"):
        RunFolder(tmp_path / "file" / "r", PLAN).open({}, {})


def test_a_folder_of_a_version_that_noted_more_is_continued(tmp_path: Path) -> None:
    data = {"_target_": "treg_exp.data.folder.ImageFolder"}
    (tmp_path / "identity.json").write_text(json.dumps({"seed": 0, "data": {**data, "verify": True}, "trainer": {}}))
    folder = RunFolder(tmp_path, PLAN)
    folder.open({}, {"seed": 0, "data": data})
    folder.close()


def test_a_folder_that_was_deleted_and_made_anew_by_another_process_is_theirs(tmp_path: Path) -> None:
    """Somebody deletes what is still running, and starts it again: the first one must not write there, too."""
    first, second = RunFolder(tmp_path / "r", PLAN), RunFolder(tmp_path / "r", PLAN)
    first.open({"seed": 0}, {"seed": 0})
    first.require()
    shutil.rmtree(tmp_path / "r")
    second.open({"seed": 0}, {"seed": 0})
    second.require()
    with pytest.raises(RunFailedError, match="was deleted while the run wrote into it"):
        first.require()
    first.write_end("failed")
    assert not (tmp_path / "r" / "status.json").exists()
    second.close()


@pytest.mark.parametrize("content", [None, "", "{", "[]"])
def test_a_folder_with_the_name_of_its_run_says_what_it_holds(tmp_path: Path, content: str | None) -> None:
    """The name is the hash of the identity: where the file is damaged or gone, it is written again."""
    identity = {"seed": 3}
    folder = RunFolder(tmp_path / hash_of(identity), PLAN)
    folder.open({"seed": 3}, identity)
    folder.close()
    file = folder.layout.identity
    file.unlink()
    if content is not None:
        file.write_text(content)
    folder.open({"seed": 3}, identity)
    folder.close()
    assert json.loads(file.read_text()) == identity
    file.write_text("{}")
    with pytest.raises(ConfigError, match="holds a run with seed=None, this one has seed=3"):
        folder.open({"seed": 3}, identity)


def test_a_run_that_another_process_begins_right_now_is_no_other_thing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the identity and the look at what else is there."""
    ours, theirs = RunFolder(tmp_path / "r", PLAN), RunFolder(tmp_path / "r", PLAN)
    look = RunFolder._other

    def begun_meanwhile(self: RunFolder) -> str:
        if self is ours and not theirs.is_open:
            theirs.open({"seed": 0}, {"seed": 0})
        return look(self)

    monkeypatch.setattr(RunFolder, "_other", begun_meanwhile)
    (tmp_path / "r").mkdir()
    with pytest.raises(RunBusyError, match="is being written by another process"):
        ours.open({"seed": 0}, {"seed": 0})
    theirs.close()
