"""Half-finished and damaged folders are told and left out; the others are compared all the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.findings.folders import run
from treg_exp.cli import main
from treg_exp.run_layout import RunLayout


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three good ones; tests damage the second."""
    for scale in (1, 3, 5):
        folder = run(
            tmp_path / "runs" / f"s{scale}", lambda i, s=scale: {"psnr": i + s}, pictures=True, guidance__scale=scale
        )
        (folder / "summary.json").write_text("{}")
    return tmp_path / "runs"


def told(runs: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What the command says on the error output, and the notes of the page."""
    out = runs.parent / "out"
    assert main(["report", str(runs), "--out", str(out)]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    return capsys.readouterr().err, page.split('<ul class="note">')[1].split("</ul>")[0] if "<ul" in page else ""


def methods_of(runs: Path) -> int:
    return len((runs.parent / "out" / "tables" / "means.csv").read_text().splitlines()) - 1


def no_rows(folder: Path) -> None:
    (folder / "rows" / "rank-0.jsonl").unlink()


def no_identity(folder: Path) -> None:
    RunLayout(folder).identity.unlink()


def broken(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file: Path = getattr(RunLayout(folder), name)
        file.write_bytes(file.read_bytes()[:20] + b"\xff" if file.is_file() else b"\xff{")

    return damage


def other_columns(folder: Path) -> None:
    RunLayout(folder).columns.write_text(json.dumps({"columns": {"psnr": {"colour": "red"}}, "medium": "image"}))


def rows_are_a_folder(folder: Path) -> None:
    no_rows(folder)
    (folder / "rows" / "rank-0.jsonl").mkdir()


def a_loop(folder: Path) -> None:
    no_rows(folder)
    (folder / "rows" / "rank-0.jsonl").symlink_to("rank-0.jsonl")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (no_rows, "no restoration is there yet"),
        (no_identity, "identity.json is missing"),
        (broken("identity"), "identity.json is damaged"),
        (broken("columns"), "columns.json is damaged"),
        (other_columns, "columns.json is damaged"),
        (rows_are_a_folder, "rank-0.jsonl"),
        (a_loop, "rank-0.jsonl"),
    ],
)
def test_what_cannot_be_read_is_left_out(
    runs: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], reason: str
) -> None:
    damage(runs / "s3")
    errors, notes = told(runs, capsys)
    (line,) = errors.splitlines()
    assert line.startswith("left out: ")
    assert str(runs / "s3") in line
    assert reason in line
    assert "Left out: " in notes
    assert methods_of(runs) == 2


@pytest.mark.parametrize("name", ["summary", "environment", "prior_files", "posterior"])
def test_what_its_numbers_do_not_need_costs_no_run(runs: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    broken(name)(runs / "s3")
    errors, notes = told(runs, capsys)
    assert errors == ""
    assert name in notes
    assert methods_of(runs) == 3


def test_torn_rows_are_counted(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = runs / "s3" / "rows" / "rank-0.jsonl"
    file.write_bytes(file.read_bytes()[:-30])
    errors, notes = told(runs, capsys)
    assert errors == ""
    assert "s3: 1 of 12 rows cannot be read and are left out." in notes


def test_missing_and_damaged_pictures_are_counted(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "s3" / "samples" / "image_00" / "own" / "reconstruction.png").unlink()
    whole = runs / "s3" / "samples" / "image_01" / "own" / "reconstruction.png"
    whole.write_bytes(whole.read_bytes()[:40])
    (runs / "s5" / "samples" / "image_02" / "own" / "reconstruction.png").write_bytes(b"")
    _, notes = told(runs, capsys)
    assert "1 restorations have no picture" in notes
    assert "2 files of pictures are damaged" in notes


def test_an_unfinished_run_counts_as_far_as_it_is(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "s3" / "status.json").write_text(json.dumps({"state": "interrupted", "expected": 20, "finished": 12}))
    (runs / "s5" / "status.json").write_bytes(b"{")
    _, notes = told(runs, capsys)
    assert "s3: interrupted; its numbers are of what is there." in notes
    assert "s5: failed" in notes
    assert methods_of(runs) == 3


def test_a_folder_that_may_not_be_read(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs this as root may read everything: then the refusal is imitated."""
    file = runs / "s3" / "rows" / "rank-0.jsonl"
    file.chmod(0)
    if os.access(file, os.R_OK):
        read = Path.read_bytes

        def refuse(path: Path) -> bytes:
            if path == file:
                raise PermissionError(13, "Permission denied", str(path))
            return read(path)

        monkeypatch.setattr(Path, "read_bytes", refuse)
    errors, _ = told(runs, capsys)
    assert "Permission denied" in errors
    assert methods_of(runs) == 2


def test_a_damaged_list_of_a_sweep(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "sweep.json").write_text("{")
    errors, _ = told(runs, capsys)
    assert "sweep.json" in errors
    assert "its folders are read without it" in errors
    assert methods_of(runs) == 3


def test_nothing_but_damage_is_an_error_with_the_reasons(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for scale in (1, 3, 5):
        no_identity(runs / f"s{scale}")
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(runs), "--out", str(runs.parent / "out")])
    errors = capsys.readouterr().err
    assert "no run with results in these folders" in errors
    assert errors.count("identity.json is missing") == 3


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(tmp_path / "nowhere")])
    assert "nowhere: no run and no sweep" in capsys.readouterr().err
