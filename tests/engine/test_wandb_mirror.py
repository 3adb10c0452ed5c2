"""What W&B is told, read back from its own files of real offline runs."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.e2e import wandb_file
from treg_exp.engine.wandb_mirror import WandbMirror, run_id
from treg_exp.errors import FieldError
from treg_exp.files import append_json_line
from treg_exp.run_layout import RunLayout, of_process, read_rows

COLUMN = "own/psnr"
SECOND = 1.1  # W&B names its folders by id and second


def batch(mirror: WandbMirror, folder: Path, psnr: list[float], rank: int = 0) -> None:
    """One batch, written as the run does and shown to the mirror if it is one of the first process."""
    start = len(read_rows(folder))
    rows = [{"sample_id": f"s{start + i}", "variant": "own", "draw": 0, "psnr": x} for i, x in enumerate(psnr)]
    for row in rows:
        append_json_line(of_process(RunLayout(folder).rows, rank), row)
    if rank == 0:
        mirror.on_predict_batch_end(None, None, [SimpleNamespace(row=r, signal=0) for r in rows], None, 0)


def offline(folder: Path) -> list[dict]:
    """All runs of W&B in a run folder; its service writes their ends a moment after the run is finished."""
    folders = sorted((folder / "wandb").glob("offline-run-*"))
    for _ in range(200):
        found = [wandb_file.read(run) for run in folders]
        if all(run["exit_code"] is not None for run in found):
            return found
        time.sleep(0.05)
    raise AssertionError("W&B wrote no end")


def test_a_continued_run_is_one_run_of_wandb_and_its_summary_is_of_all_rows(tmp_path: Path) -> None:
    """Interrupted after batches of 1 and 2 rows (means 10 and 25), while another process wrote one of 90."""
    first, second = WandbMirror(), WandbMirror()
    first.start(tmp_path, {}, None)
    batch(first, tmp_path, [10.0])
    batch(first, tmp_path, [20.0, 30.0])
    batch(first, tmp_path, [90.0], rank=1)
    first.close(exit_code=1)
    assert first.run is None
    time.sleep(SECOND)
    second.start(tmp_path, {}, None)
    batch(second, tmp_path, [50.0])
    rows = read_rows(tmp_path)
    second.finish(rows, {"variants": {"own": {"metrics": {"psnr": {"mean": 40.0}}}}}, lambda key: tmp_path / "none")
    second.close(exit_code=0)
    before, after = offline(tmp_path)
    assert before["id"] == after["id"]
    assert not first.broken
    assert not second.broken
    assert (before["summary"][COLUMN], before["summary"]["restorations"]) == (pytest.approx(37.5), 4)
    assert (after["summary"][COLUMN], after["summary"]["restorations"]) == (pytest.approx(40.0), 5)
    assert (before["exit_code"], after["exit_code"]) == (1, 0)
    assert (before["last_step"], after["last_step"]) == (3, 6)  # the last one is the table


def test_the_summary_of_a_killed_run_is_of_all_rows_until_then(tmp_path: Path) -> None:
    mirror = WandbMirror()
    mirror.start(tmp_path, {}, None)
    batch(mirror, tmp_path, [10.0])
    batch(mirror, tmp_path, [20.0, 30.0])
    run, mirror.run = mirror.run, None  # it gets no word of the end
    run.finish(exit_code=255)
    (found,) = offline(tmp_path)
    assert found["summary"][COLUMN] == pytest.approx(20.0)


def test_an_id_of_the_environment_is_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B's agents set it for the run that they start; jobs of a multirun get ids of their own."""
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    monkeypatch.setenv("WANDB_RESUME", "never")
    for name, group in (("alone", None), ("a", "sweep"), ("b", "sweep"), ("a", "sweep")):
        time.sleep(SECOND if (tmp_path / name).exists() else 0)
        mirror = WandbMirror()
        mirror.start(tmp_path / name, {}, group)
        mirror.close(exit_code=0)
        assert not mirror.broken
    (alone,), (first, again), (other,) = (offline(tmp_path / name) for name in ("alone", "a", "b"))
    assert alone["id"] == "given"
    assert first["id"] == again["id"]
    assert len({alone["id"], first["id"], other["id"]}) == 3
    monkeypatch.delenv("WANDB_RUN_ID")
    assert run_id(RunLayout(tmp_path / "alone").wandb, None) == "given"  # also when it is continued without


def test_a_server_that_does_not_answer_is_asked_once_by_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each further job of a sweep would wait for it."""
    asked: list[str] = []
    begin = WandbMirror._init

    def init(self: WandbMirror, mode: str, *arguments: object) -> object:
        asked.append(mode)
        if mode == "online":
            raise TimeoutError("no answer")
        return begin(self, mode, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(WandbMirror, "_init", init)
    monkeypatch.setattr(WandbMirror, "unreachable", False)
    for name in ("a", "b"):
        mirror = WandbMirror(mode="online", patience=1)
        mirror.start(tmp_path / name, {}, "sweep")
        mirror.close(exit_code=0)
        assert len(list((tmp_path / name / "wandb").glob("offline-run-*"))) == 1
    assert asked == ["online", "offline", "offline"]
    assert caplog.text.count("kept offline from now on") == 1
    with pytest.raises(FieldError, match="patience=0: must be > 0 s"):
        WandbMirror(patience=0)
