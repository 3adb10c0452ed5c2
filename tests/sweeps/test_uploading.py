"""``treg-exp sync`` with W&B's own ``wandb sync``, to a server on this machine that speaks W&B's protocol."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.engine.test_wandb_mirror import SECOND, batch, offline
from tests.wandb_server import Server, StoredRun, wandb_server
from treg_exp.cli import main
from treg_exp.engine.occupation import FolderLock
from treg_exp.engine.status import here, write_status
from treg_exp.engine.wandb_log import BLOCK, log_of, read_offline
from treg_exp.engine.wandb_mirror import WandbMirror
from treg_exp.errors import FileError
from treg_exp.run_layout import RunLayout, read_rows
from treg_exp.sweeps.uploading import NOTE

SUMMARY = {"variants": {"own": {"metrics": {"psnr": {"mean": 15.0}}}}}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with wandb_server() as running:
        _use(running, monkeypatch)
        yield running


def _use(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    wandb.teardown()  # it reads the environment once


def write(folder: Path, psnr: list[float], state: str = "finished") -> Path:
    """A run of these batches, or one more start of it, with a table of two pictures."""
    mirror = WandbMirror()
    mirror.start(folder, {"solver": {"steps": 4}}, "night")
    for value in psnr:
        batch(mirror, folder, [value])
    if state == "finished":
        for row in read_rows(folder):
            file = RunLayout(folder).variant(row["sample_id"], "own") / "reconstruction.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (int(row["psnr"]), 0, 0)).save(file)
        mirror.finish(read_rows(folder), SUMMARY, lambda key: folder)
    mirror.close(exit_code=int(state != "finished"))
    assert not mirror.broken
    offline(folder)  # waits for the end of its files
    write_status(folder, {"state": state, "expected": 2, "finished": 2, "failed": 0})
    return folder


def only(server: Server) -> StoredRun:
    (run,) = server.runs.values()
    return run


def log_file(folder: Path) -> Path:
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    return file


def everything(folder: Path) -> dict[str, bytes]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix != ".log")
    return {str(file): file.read_bytes() for file in files}


def test_each_start_of_a_run_is_uploaded_once(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "a", [10.0], "interrupted")
    before = everything(tmp_path)
    assert main(["sync", str(tmp_path), "--dry-run"]) == 0
    assert everything(tmp_path) == before
    assert (server.requests, "1 would be uploaded" in capsys.readouterr().out) == (0, True)
    assert main(["sync", str(tmp_path)]) == 0
    run, asked = only(server), server.requests
    assert (run.name, run.group) == ((folder / "wandb" / "run_id").read_text(), "night")
    assert run.config["solver"] == {"value": {"steps": 4}}
    assert run.config["code"]["value"]["packages"]["wandb"]
    assert [line["own/psnr"] for line in run.history.values()] == [10.0]
    assert main(["sync", str(folder)]) == 0
    assert server.requests == asked
    assert capsys.readouterr().out.endswith(f"up to date: {folder}\n1 up to date\n")
    time.sleep(SECOND)
    write(folder, [20.0])
    assert main(["sync", str(folder)]) == 0
    assert len(server.runs) == 1
    assert [line.get("own/psnr") for line in run.history.values()] == [10.0, 20.0, None]
    steps = [line["_step"] for line in run.history.values()]
    assert steps == sorted(set(steps))
    assert run.written == [0, 1, 2]  # no line came twice
    assert run.summary["own/psnr"] == 15.0
    (artifact,) = server.artifacts.values()
    assert artifact["committed"]
    assert len([name for name in artifact["files"] if name.endswith(".png")]) == 2


def test_what_was_cut_off_comes_again_at_the_same_steps(server: Server, tmp_path: Path) -> None:
    """Killed behind the last line and before anything was noted: W&B's server has one line per step."""
    folder = write(tmp_path / "a", [10.0, 20.0])
    assert main(["sync", str(folder)]) == 0
    first = [(line["_step"], line.get("own/psnr")) for line in only(server).history.values()]
    assert first == [(1, 10.0), (2, 20.0), (3, None)]
    (folder / "wandb" / NOTE).unlink()
    log_file(folder).with_name(f"{log_file(folder).name}.synced").unlink()
    assert main(["sync", str(folder)]) == 0
    assert [(line["_step"], line.get("own/psnr")) for line in only(server).history.values()] == 2 * first


def test_of_a_moved_folder_the_table_arrives_too(server: Server, tmp_path: Path) -> None:
    """`wandb sync` alone leaves the table out and says nothing."""
    folder = write(tmp_path / "a", [10.0, 20.0])
    folder = folder.rename(tmp_path / "moved")
    assert main(["sync", str(folder)]) == 0
    (artifact,) = server.artifacts.values()
    assert artifact["committed"]
    assert len([name for name in artifact["files"] if name.endswith(".png")]) == 2


def test_a_table_whose_pictures_are_gone_is_no_success(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "a", [10.0, 20.0])
    shutil.rmtree(folder / "wandb" / "artifacts")
    assert main(["sync", str(folder)]) == 1
    assert "3 files of its table are gone, such as " in capsys.readouterr().out
    assert server.requests == 0


def test_a_killed_run_is_uploaded_as_far_as_it_came(server: Server, tmp_path: Path) -> None:
    folder = write(tmp_path / "a", [10.0, 20.0], "interrupted")
    file = log_file(folder)
    records = read_offline(file).records
    at = next(i for i, record in enumerate(records) if b"own/psnr" in record and b"restorations" in record)
    file.write_bytes(log_of(records[: at + 1]) + log_of([records[at + 1]])[7:-5])
    assert not read_offline(file).whole
    assert main(["sync", str(folder)]) == 0
    assert [line["own/psnr"] for line in only(server).history.values()] == [10.0]


def test_damaged_and_running_ones_are_left_out_and_the_others_are_uploaded(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a", [10.0])
    log_file(tmp_path / "a").write_bytes(b"nothing of the kind")
    write(tmp_path / "b", [10.0])
    write_status(tmp_path / "b", {"state": "running", **here()})
    write(tmp_path / "c", [30.0])
    write_status(tmp_path / "d", {"state": "finished"})
    (tmp_path / "d").mkdir(exist_ok=True)
    lock = FolderLock(tmp_path / "b")
    lock.acquire()
    try:
        assert main(["sync", str(tmp_path), str(tmp_path / "nowhere")]) == 1
    finally:
        lock.release()
    said = capsys.readouterr().out
    assert f"failed: {tmp_path}/nowhere: no run and no sweep" in said
    assert "is damaged: it does not begin as a file of W&B does" in said
    assert f"skipped: {tmp_path}/b: is still running; sync it when it has ended" in said
    assert f"skipped: {tmp_path}/d: has no offline run of W&B" in said
    assert said.endswith("2 failed, 2 skipped, 1 uploaded\n")
    assert only(server).name == (tmp_path / "c/wandb/run_id").read_text()


def test_a_server_that_refuses_or_is_not_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing counts as uploaded, and the next runs do not wait again."""
    folder = write(tmp_path / "a", [10.0])
    write(tmp_path / "b", [10.0])
    before = everything(folder)
    server.refuse = 401
    assert main(["sync", str(folder)]) == 1
    assert "0 of 1 parts uploaded; ERROR Failed to get resume status" in capsys.readouterr().out
    server.refuse = 503
    assert main(["sync", str(folder)]) == 1
    assert f"{server.url} answers with error 503" in capsys.readouterr().out
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _use(Server(f"http://127.0.0.1:{silent.getsockname()[1]}"), monkeypatch)
        start = time.monotonic()
        assert main(["sync", str(tmp_path), "--patience", "1"]) == 1
        assert time.monotonic() - start < 10
    said = capsys.readouterr().out
    assert said.count("cannot be reached: timed out") == 2
    _use(Server("http://127.0.0.1:9"), monkeypatch)
    assert main(["sync", str(folder)]) == 1
    assert "http://127.0.0.1:9 cannot be reached: " in capsys.readouterr().out
    kept = everything(folder)
    assert {name: kept[name] for name in before} == before
    assert not list(folder.rglob("*.synced"))


def test_an_upload_that_falls_silent_is_ended(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "a", [10.0])
    monkeypatch.setattr("treg_exp.sweeps.uploading.Server.problem", lambda self: "")
    server.refuse = 503  # `wandb sync` tries again and again
    assert main(["sync", str(folder), "--patience", "3"]) == 1
    assert f"{server.url} was silent for 3 s" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["sync", str(folder), "--patience", "0"])


def test_records_of_any_length_are_written_as_wandb_does(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", [float(i) for i in range(80)])
    file = log_file(folder)
    content = file.read_bytes()
    found = read_offline(file)
    assert found.whole
    assert len(content) > BLOCK
    assert log_of(found.records) == content
    file.write_bytes(content[:BLOCK] + bytes([content[BLOCK] ^ 1]) + content[BLOCK + 1 :])
    with pytest.raises(FileError, match="the checksum of the record at byte 32768 is another"):
        read_offline(file)
