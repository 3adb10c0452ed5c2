"""One job after another, while other programs work on the same sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from treg_exp.engine.status import write_status
from treg_exp.sweeps.launching import InProcess


def run(folders: list[Path], monkeypatch: pytest.MonkeyPatch, meanwhile: dict[Path, str]) -> list[Path]:
    """Which jobs are started, if during the first one others get these states."""
    started: list[Path] = []

    def execute(folder: Path) -> int:
        if not started:
            for other, state in meanwhile.items():
                write_status(other, {"state": state, "host": "elsewhere", "error": "new"})
        started.append(folder)
        return 0

    monkeypatch.setattr("treg_exp.sweeps.job.execute", execute)
    InProcess().run(folders)
    return started


def test_what_another_program_does_or_has_tried_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / name for name in ("first", "taken", "done", "tried", "left", "failed")]
    for folder in folders:
        folder.mkdir()
    first, taken, done, tried, left, failed = folders
    write_status(failed, {"state": "failed", "error": "before this sweep"})
    meanwhile = {taken: "running", done: "finished", tried: "failed", left: "interrupted"}
    assert run(folders, monkeypatch, meanwhile) == [first, left, failed]


def test_a_sweep_that_was_deleted_is_not_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run([tmp_path / "s" / "a", tmp_path / "s" / "b"], monkeypatch, {}) == []
    assert not (tmp_path / "s").exists()
