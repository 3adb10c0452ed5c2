"""How far a sweep is, from files alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from treg_exp.engine.status import STALE_AFTER, Status, read_status, write_status
from treg_exp.errors import ConfigError
from treg_exp.run_layout import RunLayout
from treg_exp.sweeps.manifest import Job, Sweep
from treg_exp.sweeps.overview import Line, lines, seconds_left, show


def sweep(folder: Path, **states: dict) -> Sweep:
    made = Sweep(folder)
    made.add([Job(name, ("task=a", f"seed={i}")) for i, name in enumerate(states)], [])
    for name, status in states.items():
        (folder / name).mkdir()
        if status:
            write_status(folder / name, status)
    return made


def test_states(tmp_path: Path) -> None:
    sweep(
        tmp_path,
        new={},
        done={"state": "finished", "expected": 4, "finished": 4},
        bad={"state": "failed", "expected": 4, "finished": 3, "failed": 1, "error": "1 of 4 failed"},
        wrong={"state": "failed", "error": "seed: no", "exit_code": 2},
        gone={"state": "running", "expected": 4, "finished": 1, "host": socket.gethostname()},
        far={"state": "running", "expected": 4, "finished": 1, "host": "elsewhere"},
        lost={"state": "running", "expected": 4, "finished": 1, "host": "elsewhere"},
    )
    old = time.time() - STALE_AFTER - 5
    os.utime(tmp_path / "lost" / "status.json", (old, old))
    found = {line.folder.name: line for line in lines(tmp_path)}
    assert {name: line.status.state for name, line in found.items()} == {
        "new": "queued", "done": "finished", "bad": "failed", "wrong": "failed", "gone": "stale", "far": "running",
        "lost": "stale",
    }  # fmt: skip
    assert [found[name].status.exit_code for name in ("done", "bad", "wrong")] == [0, 1, 2]
    assert found["bad"].left == 0
    assert found["wrong"].label == "seed=3"


def test_a_run_of_this_machine_lives_as_long_as_its_lock_is_held(tmp_path: Path) -> None:
    write_status(tmp_path, {"state": "running", "host": socket.gethostname()})
    lock = RunLayout(tmp_path).lock
    code = f"import fcntl, sys; f = open({str(lock)!r}, 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(1); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-uc", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        old = time.time() - 10 * STALE_AFTER  # a long step, or a clock that was set
        os.utime(tmp_path / "status.json", (old, old))
        assert read_status(tmp_path).state == "running"
        process.kill()
    assert read_status(tmp_path).state == "stale"


def test_a_damaged_status_is_a_failure_with_its_file(tmp_path: Path) -> None:
    RunLayout(tmp_path).status.write_text("{")
    assert (status := read_status(tmp_path)).state == "failed"
    assert "status.json is damaged" in status.error


def test_rates_and_what_is_left(tmp_path: Path) -> None:
    running = {"state": "running", "expected": 100, "finished": 30, "begun_with": 10, "host": "elsewhere"}
    sweep(
        tmp_path,
        a={**running, "seconds": 40.0},
        b={},
        c={"state": "finished", "expected": 100, "finished": 100},
    )
    a, b, c = lines(tmp_path)
    assert a.rate == pytest.approx(0.5, rel=0.1)  # those of an earlier start do not count
    assert (a.left, b.left, c.left) == (70, 0, 0)
    assert seconds_left([a, b, c]) == pytest.approx(170 / a.rate)
    assert seconds_left([b, c]) == 0
    back = Status("running", expected=9, finished=3, seconds=0.0)  # the clock was set back
    assert Line(tmp_path, "", back).rate == 0


def test_the_table_names_what_is_wrong_and_says_so_to_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    states = {f"run{i}": {"state": "finished", "expected": 1, "finished": 1} for i in range(50)}
    sweep(tmp_path, **states, bad={"state": "failed", "error": "no such device\nmore"})
    assert show(tmp_path) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path}: 1 failed, 50 finished\n")
    assert "no such device" in out
    assert "more\n" not in out
    assert "run7" not in out
    assert "50 more are queued or finished; --all lists them" in out
    show(tmp_path, every=True)
    assert "run7" in capsys.readouterr().out
    assert show(tmp_path, as_json=True) == 1
    assert {row["state"] for row in json.loads(capsys.readouterr().out)} == {"finished", "failed"}


def test_folders_of_several(tmp_path: Path) -> None:
    sweep(tmp_path / "one", a={}, b={})
    (tmp_path / "single").mkdir()
    write_status(tmp_path / "single", {"state": "finished", "expected": 1, "finished": 1})
    assert [(line.folder.name, line.label) for line in lines(tmp_path)] == [
        ("a", "one: seed=0"), ("b", "one: seed=1"), ("single", ""),
    ]  # fmt: skip
    assert [line.folder for line in lines(tmp_path / "single")] == [tmp_path / "single"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no run and no sweep"):
        lines(tmp_path / "empty")


def test_no_torch(tmp_path: Path) -> None:
    sweep(tmp_path, a={})
    code = (
        "import sys; from treg_exp.cli import main; main(['status', sys.argv[1]]); "
        "assert not {'torch', 'lightning', 'hydra'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True)
