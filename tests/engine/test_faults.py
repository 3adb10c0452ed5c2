"""Whole runs in this process whose files vanish, are damaged or do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.engine.test_app import go
from treg_exp.engine.run_folder import RunFolder
from treg_exp.errors import ConfigError, RunFailedError
from treg_exp.files import WriteError, whole
from treg_exp.run_layout import read_failures, read_rows
from treg_exp.signals.image import save_png

SINGLE = ["experiment=single", "metrics=residual", "solver.steps=2", "data.batch_size=2"]


def status(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text())


def with_photos(folder: Path) -> list[str]:
    for i, name in enumerate("abc"):
        save_png(torch.full((3, 64, 64), i / 4), folder / f"{name}.png")
    return [*SINGLE, "data=folder", f"data.path={folder}", "prompt=fixed", "prompt.text=a cat"]


def lines(folder: Path) -> list[str]:
    return (folder / "rows" / "rank-0.jsonl").read_text().splitlines()


def test_what_is_damaged_is_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, command = tmp_path / "r", with_photos(tmp_path / "photos")
    before = go(folder, *command)
    go(folder, *command)
    assert "note: damaged or" not in capsys.readouterr().out
    ((_, variant), *_) = before
    picture = folder / "samples" / "a" / variant / "reconstruction.png"
    picture.write_bytes(picture.read_bytes()[:200])
    (folder / "samples" / "b" / "target.png").write_bytes(b"")
    (folder / "samples" / "c" / "measurement.png").unlink()
    (folder / "environment.json").write_text("{")
    go(folder, *command)
    out = capsys.readouterr().out
    assert "note: damaged or missing, done again: 3 of 3 restorations: " in out
    assert f"a/{variant}/0" in out
    assert {file.name for file in (folder / "samples" / "c").iterdir()} >= {"target.png", "measurement.png"}
    assert all(whole(file) for file in (folder / "samples").rglob("*.png"))
    assert len(lines(folder)) == 3
    after = {(row["sample_id"], row["variant"]): row for row in read_rows(folder)}
    assert {key: row["residual"] for key, row in after.items()} == pytest.approx(
        {key: row["residual"] for key, row in before.items()}, abs=1e-4
    )
    assert json.loads((folder / "environment.json").read_text())["precision"] == "float32"


def test_a_sample_that_vanishes_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, photos = with_photos(tmp_path / "photos"), tmp_path / "photos"
    write = RunFolder.write_environment

    def vanish(self: RunFolder, precision: str) -> None:
        (photos / "b.png").rename(tmp_path / "gone.png")
        (photos / "c.png").write_bytes(b"no picture")
        write(self, precision)

    monkeypatch.setattr(RunFolder, "write_environment", vanish)
    with pytest.raises(RunFailedError, match="2 of 3 restorations failed"):
        go(tmp_path / "r", *command)
    assert (status(tmp_path / "r")["finished"], status(tmp_path / "r")["failed"]) == (1, 2)
    failures = {row["sample_id"]: row for row in read_failures(tmp_path / "r")}
    assert "b.png" in failures["b"]["error"]
    assert "c.png" in failures["c"]["error"]
    assert failures["b"]["prompt"] == "a cat"
    monkeypatch.undo()
    (tmp_path / "gone.png").rename(photos / "b.png")
    save_png(torch.zeros(3, 64, 64), photos / "c.png")
    assert len(go(tmp_path / "r", *command)) == 3


@pytest.mark.parametrize("at", ["append", "write_columns"])
def test_a_folder_that_is_deleted_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """In the middle, and after the last row."""
    done, calls = getattr(RunFolder, at), []

    def delete(self: RunFolder, *args: object) -> None:
        done(self, *args)
        calls.append(at)
        if at == "append":
            shutil.rmtree(tmp_path / "r")

    monkeypatch.setattr(RunFolder, at, delete)
    if at == "write_columns":
        monkeypatch.setattr("treg_exp.app.restore", lambda *args: (args[-1](), shutil.rmtree(tmp_path / "r")))
    with pytest.raises(RunFailedError, match="was deleted while the run wrote into it"):
        go(tmp_path / "r", *with_photos(tmp_path / "photos"))
    assert len(calls) == (at == "append")
    assert not (tmp_path / "r" / "rows").exists()


def test_a_full_disk_is_told_and_the_run_can_be_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, folder = with_photos(tmp_path / "photos"), tmp_path / "r"

    def full(file: Path, *rows: object) -> None:
        raise WriteError(file, OSError(28, "No space left on device"))

    monkeypatch.setattr("treg_exp.engine.run_folder.append_json_line", full)
    with pytest.raises(WriteError, match=r"cannot write .*rank-0\.jsonl: No space left on device"):
        go(folder, *command)
    assert (status(folder)["state"], status(folder)["finished"]) == ("failed", 0)
    assert "No space left" in status(folder)["error"]
    monkeypatch.undo()
    assert len(go(folder, *command)) == len(lines(folder)) == 3


def test_a_damaged_identity_is_refused_and_the_folder_kept(tmp_path: Path) -> None:
    command, folder = with_photos(tmp_path / "photos"), tmp_path / "r"
    go(folder, *command)
    (folder / "identity.json").write_text("")
    before = sorted(folder.rglob("*"))
    with pytest.raises(ConfigError, match=r"cannot be continued: .*identity\.json is damaged"):
        go(folder, *command)
    assert sorted(folder.rglob("*")) == before
