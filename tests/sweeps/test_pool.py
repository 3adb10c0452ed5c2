"""A pool of processes on this machine, with jobs that do nothing or die."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.proc import gone
from tests.sweeps import fake_jobs
from tests.sweeps.fake_jobs import plan, trace
from treg_exp.engine.status import read_status
from treg_exp.sweeps.local.pool import Pool
from treg_exp.sweeps.local.slots import Slot, find_slots
from treg_exp.sweeps.local.worker import Worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes")


def pool(count: int = 2, prepare: Callable[[], None] = fake_jobs.nothing, **more: float) -> Pool:
    """Slots as on so many GPUs, without GPUs."""
    slots = [Slot(f"gpu {i}", {"CUDA_VISIBLE_DEVICES": str(i), "OMP_NUM_THREADS": "1"}) for i in range(count)]
    return Pool(slots, work=fake_jobs.work, prepare=prepare, **more)  # type: ignore[arg-type]


def do(used: Pool, folders: list[Path]) -> None:
    """Do the jobs and end the processes."""
    try:
        used.run(folders)
    finally:
        used.close()


def states(folders: list[Path]) -> list[str]:
    return [read_status(folder).state for folder in folders]


def tries(folders: list[Path]) -> list[dict]:
    """All that was begun, in the order of time; each job once."""
    found = [trace(folder) for folder in folders]
    assert all(len(each) == 1 for each in found)
    return sorted((each[0] for each in found), key=lambda each: each["start"])


def test_every_job_is_done_once_by_processes_that_live_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folders = plan(tmp_path, *["finish begun 2"] * 2, *["finish 0.2"] * 4)
    do(pool(), folders)
    assert states(folders) == ["finished"] * 6
    done = tries(folders)
    assert len({each["pid"] for each in done}) == len({each["gpu"] for each in done}) == 2
    for gpu in "01":  # never two on one device
        mine = [each for each in done if each["gpu"] == gpu]
        assert all(b["start"] - a["start"] >= 0.2 for a, b in pairwise(mine[1:]))
    assert gone(*{each["pid"] for each in done}, seconds=0)
    told = capfd.readouterr()
    assert told.err == ""
    assert len(told.out.splitlines()) == 12
    assert f"[1/6] gpu 0: {folders[0]} started\n" in told.out or f"[1/6] gpu 1: {folders[0]} started\n" in told.out
    assert re.search(rf"^\[6/6\] gpu [01]: {folders[5]} finished after \d+ s$", told.out, re.MULTILINE)
    assert (folders[3] / "log.txt").read_text() == "this is 3-finish\nand this a library\n"


def test_a_single_job_starts_a_single_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = plan(tmp_path, "finish")
    made: list[Slot] = []
    start = Worker.__init__
    monkeypatch.setattr(Worker, "__init__", lambda self, slot, *rest: (made.append(slot), start(self, slot, *rest))[1])
    do(pool(5), folders)
    assert states(folders) == ["finished"]
    do(pool(5), [])
    assert len(made) == 1


def test_further_jobs_find_the_processes_of_the_first_ones(tmp_path: Path) -> None:
    """A search asks for some jobs after the other."""
    first, second = (
        plan(tmp_path / "1", "finish", "kill", "finish"),
        plan(tmp_path / "2", *["finish begun 2"] * 2, "finish"),
    )
    used = pool(2)
    used.run(first)
    left = {worker.process.pid for worker in used.workers}
    used.run(second)
    assert states(first) == ["finished", "failed", "finished"]
    assert states(second) == ["finished"] * 3
    pids = {each["pid"] for each in tries(second)}
    assert left & pids
    assert len(pids) == 2
    used.close()
    assert gone(*pids, *left, seconds=0)
    used.close()


ENDINGS = {
    "kill": "the process was ended by SIGKILL (so the system ends processes when the memory is used up)",
    "nostatus": "the process was ended by SIGKILL (so the system ends processes when the memory is used up)",
    "crash": "the process was ended by SIGSEGV",
    "exit": "the process has ended with exit code 7",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_that_dies_costs_its_own_job_only(
    ending: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folders = plan(tmp_path, "finish", ending, "finish", "finish")
    do(pool(1), folders)
    assert states(folders) == ["finished", "failed", "finished", "finished"]
    status = read_status(folders[1])
    assert (status.error, status.exit_code) == (ENDINGS[ending], 1)
    pids = [each["pid"] for each in tries(folders)]
    assert pids[0] == pids[1] != pids[2] == pids[3]
    told = rf"^\[2/4\] gpu 0: {folders[1]} failed after \d+ s: {re.escape(ENDINGS[ending])}$"
    assert re.search(told, capfd.readouterr().out, re.MULTILINE)
    if ending == "crash":
        assert "Fatal Python error: Segmentation fault" in (folders[1] / "log.txt").read_text()


def test_what_a_job_wrote_before_its_process_died_is_kept(tmp_path: Path) -> None:
    """One that ended otherwise an hour ago is overwritten, one that is finished by now is not."""
    folders = plan(tmp_path, "kill", "finish")
    fake_jobs.write_status(folders[0], {"state": "interrupted", "expected": 9, "finished": 4, "exit_code": 130})
    do(pool(1), folders)
    assert states(folders) == ["failed", "finished"]
    assert read_status(folders[0]).expected == 2


def test_jobs_that_fail_by_themselves_cost_no_process(tmp_path: Path) -> None:
    folders = plan(
        tmp_path, "fail", "some", "fail", "fail", "wrong", "wrong", "wrong", "some", "raise", "fail", "finish"
    )
    do(pool(1), folders)
    assert states(folders) == [*["failed"] * 8, "stale", "failed", "finished"]
    assert "ArithmeticError: unexpected" in (folders[8] / "log.txt").read_text()
    assert len({each["pid"] for each in tries(folders)}) == 1


def test_after_an_error_of_the_gpu_another_process_takes_over(tmp_path: Path) -> None:
    folders = plan(tmp_path, "gpu", "finish", "gpu", "gpu", "finish")
    do(pool(1), folders)
    assert states(folders) == ["failed", "finished", "failed", "failed", "finished"]
    pids = [each["pid"] for each in tries(folders)]
    assert pids[0] != pids[1] == pids[2] != pids[3] != pids[4]


def test_a_slot_where_nothing_works_gets_no_more(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The others do the rest."""
    folders = plan(tmp_path, "finish over 3-fail", "gpu begun 2", "kill", "fail", "finish", "finish", "finish")
    do(pool(2), folders)
    assert states(folders) == ["finished", "failed", "failed", "failed", *["finished"] * 3]
    done = {folder.name: trace(folder)[0]["gpu"] for folder in folders}
    assert done["1-gpu"] == done["2-kill"] == done["3-fail"] != done["0-finish"]
    assert {done[f"{i}-finish"] for i in (0, 4, 5, 6)} == {done["0-finish"]}
    told = capfd.readouterr().err
    slot = done["1-gpu"]
    assert told == (
        f"error: gpu {slot}: 3 failures in a row without a restoration, gets no more jobs; the last: no good\n"
    )


@pytest.mark.parametrize("patience", [1, 2])
def test_where_no_slot_is_left_the_rest_is_not_started(
    patience: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folders = plan(tmp_path, *["kill"] * 3, "finish")
    do(pool(1, patience=patience), folders)
    assert states(folders) == ["failed"] * patience + ["queued"] * (4 - patience)
    assert f"error: {4 - patience} jobs were not started: every slot has failed too often" in capfd.readouterr().err


def test_a_process_that_cannot_get_ready_costs_no_job(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folders = plan(tmp_path, "finish", "finish")
    do(pool(1, prepare=fake_jobs.no_module), folders)
    assert states(folders) == ["queued", "queued"]
    told = capfd.readouterr().err
    assert "the last: the process has ended with exit code 3" in told
    assert "2 jobs were not started" in told


def test_a_slot_that_should_have_a_gpu_and_has_none_does_nothing(tmp_path: Path, capfd) -> None:
    """On the CPU the job would take for ever, without a word."""
    (folder,) = plan(tmp_path, "finish")
    do(Pool([Slot("gpu 7", {"CUDA_VISIBLE_DEVICES": ""}, has_gpu=True)], 1, work=fake_jobs.work), [folder])
    assert states([folder]) == ["queued"]
    assert "the last: this process should see one GPU, and sees 0" in capfd.readouterr().err


def test_what_another_command_does_is_left_to_it(tmp_path: Path) -> None:
    folders = plan(tmp_path, "finish", "finish")
    fake_jobs.write_status(folders[0], {"state": "finished", "expected": 1, "finished": 1})
    do(pool(1), folders)
    assert [len(trace(folder)) for folder in folders] == [0, 1]


PROGRAM = """
import signal, sys
from pathlib import Path
from tests.sweeps.test_pool import pool
from treg_exp.configuration.command_line import interrupt
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        pool(2, grace=float(sys.argv[1])).run([Path(each) for each in sys.argv[2:]])
    except KeyboardInterrupt:
        sys.exit(130)
"""


def started(folders: list[Path], grace: float = 20.0) -> tuple[subprocess.Popen, list[int]]:
    """A program that does these jobs, in a process group as that of a terminal, and the processes of the first two."""
    script = folders[0].parent / "program.py"
    script.write_text(PROGRAM)
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    program = subprocess.Popen(
        [sys.executable, str(script), str(grace), *map(str, folders)], env={**os.environ, **paths},
        start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not all(map(trace, folders[:2])):
        assert time.monotonic() < end
        time.sleep(0.02)
    return program, [trace(folder)[0]["pid"] for folder in folders[:2]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_jobs_say_so_and_nothing_stays_behind(number: int, tmp_path: Path) -> None:
    folders = plan(tmp_path, "finish 600", "finish 600", "finish")
    program, pids = started(folders)
    os.killpg(program.pid, number) if number == signal.SIGINT else program.send_signal(number)
    assert program.wait(20) == 130
    assert gone(*pids, seconds=0)
    assert states(folders) == ["interrupted", "interrupted", "queued"]


def test_a_job_that_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    folders = plan(tmp_path, "deaf", "finish 600")
    program, pids = started(folders, grace=0.5)
    time.sleep(0.2)
    program.terminate()
    assert program.wait(20) == 130
    assert gone(*pids, seconds=0)
    assert states(folders) == ["interrupted", "interrupted"]
    assert read_status(folders[0]).exit_code == 130


def test_who_does_not_want_to_wait_interrupts_twice(tmp_path: Path) -> None:
    folders = plan(tmp_path, "deaf", "deaf")
    program, pids = started(folders, grace=600)
    time.sleep(0.2)
    program.terminate()
    time.sleep(0.5)
    assert program.poll() is None
    program.terminate()
    assert program.wait(20) == 130
    assert gone(*pids, seconds=0)
    assert states(folders) == ["interrupted", "interrupted"]


def test_no_process_outlives_a_program_that_is_killed(tmp_path: Path) -> None:
    folders = plan(tmp_path, "finish 600", "deaf")
    program, pids = started(folders)
    program.kill()
    program.wait()
    assert gone(*pids)
    assert states(folders) == ["stale", "stale"]


def test_a_process_killed_from_outside_is_replaced(tmp_path: Path) -> None:
    folders = plan(tmp_path, "finish 600", "finish 2", "finish", "finish")
    program, pids = started(folders)
    os.kill(pids[0], signal.SIGKILL)
    assert program.wait(30) == 0
    assert states(folders) == ["failed", *["finished"] * 3]


def test_cpu_slots_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("treg_exp.sweeps.local.slots.cores", lambda: 7)
    (folder,) = plan(tmp_path, "finish")
    do(Pool(find_slots("auto", 2), work=fake_jobs.work, prepare=fake_jobs.nothing), [folder])
    assert [(each["gpu"], each["threads"]) for each in trace(folder)] == [("", "3")]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert "OMP_NUM_THREADS" not in os.environ
