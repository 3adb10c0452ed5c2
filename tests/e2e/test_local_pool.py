"""Sweeps by ``hydra/launcher=local_gpus`` on CPU slots: real jobs, a real kill -9, the numbers of jobs one by one."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests import warm
from tests.conftest import DATA
from tests.proc import gone
from treg_exp.engine.costs import NOT_REPEATED
from treg_exp.run_layout import key_of, read_rows, rows_in

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes")
COMMAND = [
    sys.executable, "run.py", "-m", "experiment=single", f"prior.path={DATA}/parity/tiny_model", "data.image_size=64",
    "null_text=off", "logger=csv", "metrics=residual", "data.limit=6", "data.batch_size=1", "solver.steps=40",
    "trainer.accelerator=cpu", "guidance.scale=2,3,4",
]  # fmt: skip
POOL = ["hydra/launcher=local_gpus", "hydra.launcher.slots=2"]
Numbers = dict[str, dict]


def sweep(folder: Path, *more: str) -> warm.Popen:
    return warm.Popen([*COMMAND, f"run_dir={folder}", *more])


def statuses(folder: Path) -> dict[str, dict]:
    return {file.parent.name: json.loads(file.read_text()) for file in folder.glob("*/status.json")}


def numbers(folder: Path) -> dict[str, Numbers]:
    """By job and restoration, without what a clock says; every restoration is there once."""
    found = {}
    for job in sorted(file.parent for file in folder.glob("*/job.yaml")):
        lines = [row for file in (job / "rows").glob("*") for row in rows_in(file.read_bytes().splitlines())]
        rows = {str(key_of(row)): {k: v for k, v in row.items() if k not in NOT_REPEATED} for row in read_rows(job)}
        assert len(lines) == len(rows)
        found[job.name] = rows
    return found


def in_the_middle(folder: Path, program: warm.Popen) -> list[int]:
    """Wait until two processes of the pool are each in the middle of a job; returns them."""
    end, before = time.monotonic() + 300, {name: len(rows) for name, rows in numbers(folder).items()}
    while time.monotonic() < end:
        assert program.poll() is None, program.communicate()
        running = {name: status for name, status in statuses(folder).items() if status["state"] == "running"}
        if len(running) == 2 and all(before.get(name, 0) < len(numbers(folder)[name]) < 6 for name in running):
            return [status["pid"] for status in running.values()]
        time.sleep(0.02)
    raise AssertionError(statuses(folder))


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Numbers]:
    folder = tmp_path_factory.mktemp("one_by_one") / "sweep"
    told = sweep(folder).told()
    found = numbers(folder)
    assert [len(rows) for rows in found.values()] == [6] * 3, told
    return found


@pytest.mark.slow
def test_an_interrupted_sweep_is_continued_to_the_numbers_of_single_jobs(
    one_by_one: dict[str, Numbers], tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    program = sweep(folder, *POOL)
    pids = in_the_middle(folder, program)
    program.send_signal(signal.SIGTERM)
    told = program.told(timeout=120)
    assert program.returncode == 130, told
    assert gone(*pids, seconds=0)
    found = statuses(folder)
    assert [status["state"] for status in found.values()] == ["interrupted"] * 2
    before = numbers(folder)
    program = sweep(folder, *POOL)
    told = program.told()
    assert program.returncode == 0, told
    assert numbers(folder) == one_by_one
    assert all(before[job].items() <= one_by_one[job].items() for job in before)


def test_a_sweep_of_which_a_job_is_killed_is_continued_to_the_numbers_of_single_jobs(
    one_by_one: dict[str, Numbers], tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    program = sweep(folder, *POOL)
    killed = in_the_middle(folder, program)[0]
    os.kill(killed, signal.SIGKILL)
    told = program.told()
    assert program.returncode == 1, told
    (lost,) = (job for job, status in statuses(folder).items() if status["state"] == "failed")
    assert statuses(folder)[lost]["error"].startswith("the process was ended by SIGKILL")
    assert f"error: failed: {folder / lost} " in told
    assert told.count("finished after") == 2
    after = numbers(folder)

    program = sweep(folder, *POOL)
    told = program.told()
    assert program.returncode == 0, told
    assert told.count("started") == 1
    assert numbers(folder) == one_by_one
    assert all(after[job].items() <= one_by_one[job].items() for job in after)
    assert "restoring: 100%" in (folder / lost / "log.txt").read_text()


@pytest.mark.slow
def test_nothing_outlives_a_pool_that_is_killed_and_further_processes_of_a_job_neither(
    one_by_one: dict[str, Numbers], tmp_path: Path
) -> None:
    """Each job here has two processes of its own."""
    folder = tmp_path / "sweep"
    program = sweep(folder, *POOL, "trainer.devices=2")
    pids = in_the_middle(folder, program)
    further = [int(p) for pid in pids for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    assert len(further) == 2
    program.kill()
    program.communicate(timeout=120)
    assert gone(*pids, *further)

    program = sweep(folder)  # another launcher, and one process for each job
    told = program.told()
    assert program.returncode == 0, told
    assert numbers(folder) == one_by_one


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["slots=0"], "error: hydra.launcher.slots=0: must be >= 1: processes on the CPU; null for GPUs"),
        (["slots=2", "devices=1"], "error: hydra.launcher.slots=2: is for processes without a GPU, and devices=1"),
        (["devices=[a,a]"], "error: hydra.launcher.devices=['a', 'a']: must be different GPUs"),
        (["devices=auto"], "error: hydra.launcher.devices=auto: this process sees no GPU; slots=N makes N processes"),
        (["slot=1"], "error: hydra.launcher.slot"),
    ],
)
def test_wrong_settings_are_one_line(given: list[str], told: str, tmp_path: Path) -> None:
    done = warm.run(
        [*COMMAND, f"run_dir={tmp_path}/r", POOL[0], *(f"hydra.launcher.{each}" for each in given)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(told)
