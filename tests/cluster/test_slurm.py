"""Sweeps on a real Slurm: as an array, in several processes, interrupted in every way a cluster has."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import warm
from tests.e2e.test_kills import COMMAND, lines
from treg_exp.engine.status import read_status
from treg_exp.run_layout import RECONSTRUCTION, RunLayout, key_of, picture, read_rows

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("slurm")]
TINY = [part for part in COMMAND if not part.startswith(("solver.steps=", "draws="))]
LAUNCHER = ["hydra.launcher.gpus_per_node=0", "hydra.launcher.poll_s=1"]
# A metric that takes its time, so that a job lasts as long on a busy machine and leaves it to others.
PATIENT = """
import time
from treg_exp.metrics.base import Metric
from treg_exp.metrics.column import Column

class Patient(Metric):
    columns = {"patience": Column("patience")}

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, inp):
        time.sleep(self.seconds)
        return {"patience": [self.seconds] * len(inp.signal)}
"""
SOON = 300.0  # s, for what takes twenty where nothing else runs


def patiently(seconds: float) -> list[str]:
    """Overrides that make each restoration take so long."""
    metric = "+metrics.patient._target_=patient_lab.Patient"
    return ["--packages", "patient_lab", "solver.steps=3", metric, f"+metrics.patient.seconds={seconds}"]


class Sweep:
    """``run.py -m`` with a launcher of Slurm, as a process; its jobs are folders by a part of their overrides."""

    def __init__(self, path: Path, *arguments: str, launcher: str = "slurm") -> None:
        self.path = path
        command = [sys.executable, "run.py", "-m", f"hydra/launcher={launcher}", *LAUNCHER, *TINY, *arguments]
        lab = path.parent / "patient_lab"
        lab.mkdir(exist_ok=True)
        (lab / "__init__.py").write_text(PATIENT)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [*sys.path, str(path.parent)]))}
        self.process = warm.Popen([*command, f"run_dir={path}"], env=environment)

    def ended(self, seconds: float = SOON) -> tuple[int, str]:
        """Exit code, and what it has said."""
        try:
            _, said = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            logs = "\n".join(file.read_text()[-1500:] for file in self.path.glob(".submitit/*log*"))
            raise AssertionError(f"{self.process.child.errors.read_text()}\n{logs}") from None
        return self.process.returncode, said

    def folder(self, override: str) -> Path:
        jobs = json.loads((self.path / "sweep.json").read_text())["jobs"]
        (found,) = [job["id"] for job in jobs if override in job["overrides"]]
        return self.path / found

    def number(self, override: str) -> str:
        """Of the job of Slurm, as soon as it has one."""
        book = self.path / ".submitit" / "jobs.jsonl"
        wait_until(lambda: book.is_file() and self.folder(override).name in book.read_text(), self)
        noted = {Path(entry["folder"]).name: entry["job"] for entry in map(json.loads, book.read_text().splitlines())}
        return noted[self.folder(override).name]


def wait_until(happened: Callable[[], object], sweep: Sweep, seconds: float = SOON) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, sweep.ended(1)
        assert sweep.process.poll() is None, sweep.ended(1)
        time.sleep(0.1)


def status(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text())


def slurm_says(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def check_complete(folder: Path, count: int) -> None:
    """Every restoration is there once: as a row, and as a picture."""
    found = [key_of(json.loads(line)) for line in lines(folder) if line.startswith("{") and line.endswith("}")]
    assert len(found) == len(set(found)) == count
    said = status(folder)
    assert (said["state"], said["expected"], said["finished"], said["failed"]) == ("finished", count, count, 0)
    draws = count // 3
    assert all(picture(RunLayout(folder).restoration(key, draws), RECONSTRUCTION).is_file() for key in found)


@pytest.fixture(scope="module")
def array(slurm: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, str, int, str]:
    """A sweep of which one job finishes, one fails and one is cancelled; the id of that, exit code and output."""
    sweep = Sweep(tmp_path_factory.mktemp("array") / "s", "draws=2", "solver.steps=3,0,900")
    lost = sweep.number("solver.steps=900")
    wait_until(lambda: (sweep.folder("solver.steps=900") / "status.json").is_file(), sweep)
    slurm_says("scancel", lost)
    return sweep, lost, *sweep.ended()


def test_one_finishes_one_fails_and_one_is_cancelled(array: tuple[Sweep, str, int, str]) -> None:
    sweep, lost, code, said = array
    check_complete(sweep.folder("solver.steps=3"), 6)
    assert code == 2
    assert re.search(r"error: failed: \S+ \(solver.steps=0\): solver.steps=0: must be", said), said
    assert re.search(rf"error: failed: \S+ \(solver.steps=900\): Slurm job {lost}: CANCELLED", said), said
    assert "3 of 3 over (2 not finished)" in said
    assert len(list(sweep.path.glob(".submitit/*_submission.sh"))) == 1  # of all, as one array


def test_two_tasks_make_the_pictures_of_one(tmp_path: Path, array: tuple[Sweep, str, int, str]) -> None:
    sweep = Sweep(tmp_path / "two", "draws=2", "solver.steps=3", "trainer.devices=2", launcher="slurm_ddp")
    code, said = sweep.ended()
    assert code == 0, said
    two, one = sweep.folder("solver.steps=3"), array[0].folder("solver.steps=3")
    check_complete(two, 6)
    assert two.name == one.name  # in how many processes is no part of what a run is
    assert [file.name for file in sorted((two / "rows").iterdir())] == ["rank-0.jsonl", "rank-1.jsonl"]
    assert all(file.stat().st_size for file in (two / "rows").iterdir())
    for key in map(key_of, read_rows(one)):
        first, second = (picture(RunLayout(folder).restoration(key, 2), RECONSTRUCTION) for folder in (one, two))
        assert first.read_bytes() == second.read_bytes()


def test_what_cannot_be_submitted_is_refused(tmp_path: Path) -> None:
    tasks = Sweep(
        tmp_path / "a", "draws=1", "trainer.devices=2", "hydra.launcher.tasks_per_node=3", launcher="slurm_ddp"
    )
    nowhere = Sweep(tmp_path / "b", "draws=1", "hydra.launcher.partition=nowhere")
    code, said = tasks.ended()
    assert code == 2
    assert "error: trainer.devices=2 and hydra.launcher.tasks_per_node=3 must be the same number" in said
    code, said = nowhere.ended()
    assert code == 2
    assert "error: hydra.launcher: Slurm does not take the jobs: sbatch: error: invalid partition" in said


def test_a_job_that_is_requeued_goes_on_and_is_not_submitted_twice(tmp_path: Path) -> None:
    arguments = ("draws=6", *patiently(0.5))
    first = Sweep(tmp_path / "s", *arguments, "hydra.launcher.wait=false")
    assert first.ended()[0] == 0
    folder, job = first.folder("draws=6"), first.number("draws=6")
    end = time.monotonic() + SOON
    while len(rows := read_rows(folder)) < 2:
        assert time.monotonic() < end
        time.sleep(0.1)
    slurm_says("scontrol", "requeue", job)
    while read_status(folder).state == "running":  # Slurm first asks it to end, and then ends it
        assert time.monotonic() < end
        time.sleep(0.1)
    again = Sweep(tmp_path / "s", *arguments)  # while it waits to start again
    code, said = again.ended()
    assert code == 0, said
    assert "1 of 1 jobs are on the cluster already" in said
    assert "submitted" not in said
    check_complete(folder, 18)
    kept = {key_of(row): row for row in read_rows(folder)}
    assert all(kept[key_of(row)] == row for row in rows)
    assert 2 <= status(folder)["begun_with"] < 18


@pytest.mark.slow
def test_a_time_limit_is_survived_without_the_process_that_submitted(tmp_path: Path) -> None:
    """Slurm's limits are minutes, and it sends the signal up to half a minute earlier than asked for."""
    limit = ("hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=10")
    sweep = Sweep(tmp_path / "s", "draws=20", *patiently(0.8), *limit)
    job = sweep.number("draws=20")
    folder = sweep.folder("draws=20")
    sweep.process.send_signal(signal.SIGTERM)  # as Ctrl-C, which a process in the background may not get
    code, said = sweep.ended()
    assert code == 130
    assert f"scancel {job}" in said
    end = time.monotonic() + 450
    while not (folder / "status.json").is_file() or status(folder)["state"] != "finished":
        logs = "\n".join(file.read_text()[-1500:] for file in sweep.path.glob(".submitit/*log*"))
        assert time.monotonic() < end, logs
        time.sleep(0.5)
    check_complete(folder, 60)
    log = (sweep.path / ".submitit" / f"{job}_0_log.out").read_text()
    assert "this job is timed-out" in log
    assert 0 < status(folder)["begun_with"] < 60
