"""Starting, watching and ending processes, with some that do nothing; what a launcher says; where processes meet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.proc import alive, gone
from treg_exp.engine.processes import (
    Place,
    ProcessLostError,
    Workers,
    check_devices,
    check_launch,
    device,
    launched,
    meeting,
)
from treg_exp.errors import ConfigError

SLEEP = ("-c", "import time; time.sleep(600)")


def check_until_lost(workers: Workers) -> None:
    for _ in range(1000):
        workers.check()
        time.sleep(0.02)


def test_without_further_processes_nothing_happens() -> None:
    with Workers([]) as workers:
        workers.check()
        workers.wait()


def test_all_processes_are_waited_for(tmp_path: Path) -> None:
    command = ("-c", "import sys, time; time.sleep(0.3); open(sys.argv[1], 'w')")
    with Workers([(*command, str(tmp_path / name)) for name in "ab"]) as workers:
        workers.check()
        workers.wait()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("look", [check_until_lost, Workers.wait])
@pytest.mark.parametrize(
    ("ending", "code", "interrupted"),
    [
        ("import sys; sys.exit(3)", 3, False),
        ("import os; os.kill(os.getpid(), 9)", -9, False),
        ("import os; os.kill(os.getpid(), 15)", -15, True),
    ],
)
def test_a_lost_process_is_named_and_the_others_end(
    look: Callable[[Workers], None], ending: str, code: int, interrupted: bool
) -> None:
    with Workers([SLEEP, ("-c", ending)]) as workers:
        assert workers.context is not None
        pids = list(workers.context.pids().values())
        with pytest.raises(ProcessLostError, match=f"process 2 of the run ended with code {code}; the same ") as lost:
            look(workers)
        assert lost.value.interrupted is interrupted
        assert not any(map(alive, pids))


def test_leaving_ends_the_processes_and_keeps_the_handlers() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    with Workers([SLEEP]) as workers:
        assert workers.context is not None
        (pid,) = workers.context.pids().values()
        assert alive(pid)
        assert os.getpgid(pid) == pid  # Ctrl-C in a terminal does not reach it
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before
    assert not alive(pid)


def test_a_process_imports_what_the_first_one_imports_and_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here", "package"):
        (tmp_path / folder).mkdir()
    (tmp_path / "here" / "lightning.py").write_text("raise SystemExit(9)")
    (tmp_path / "package" / "my_lab.py").write_text("")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend(str(tmp_path / "package"))
    code = "import importlib.util as u, sys; sys.exit('here' in u.find_spec('lightning').origin)"
    with Workers([("-c", f"import my_lab; {code}"), ("-m", "my_lab")]) as workers:
        workers.wait()


FIRST = """
import os, sys, time
from treg_exp.engine.processes import Workers
with Workers([("-c", sys.argv[1], str(os.getpid()))]) as workers:
    print(*workers.context.pids().values(), flush=True)
    time.sleep(600)
"""
MOMENTS = {
    "before it could ask for it": "print('ready', flush=True); time.sleep(1); end_with(int(sys.argv[1]))",
    "while it imports": "end_with(int(sys.argv[1])); print('ready', flush=True); import torch, lightning",
    "while it works": "end_with(int(sys.argv[1])); print('ready', flush=True)",
}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next step of the solver finds out")
@pytest.mark.parametrize("moment", MOMENTS)
def test_no_process_outlives_the_first_one(moment: str) -> None:
    program = f"import sys, time; from treg_exp.worker import end_with; {MOMENTS[moment]}; time.sleep(600)"
    first = subprocess.Popen([sys.executable, "-c", FIRST, program], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    pid, ready = sorted(first.stdout.readline() for _ in range(2))  # the two processes write in either order
    assert ready == "ready\n"
    first.kill()
    first.wait()
    assert gone(int(pid))


LAUNCHERS = {
    "nobody": ({}, Place()),
    "left over": ({"LOCAL_RANK": "0"}, Place()),
    "torchrun": (
        {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "one", "MASTER_PORT": "7"},
        Place(3, 4, 1, "tcp://one:7"),
    ),
    "torchrun, one": ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, Place()),
    "srun": (
        {
            "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "2", "SLURM_LOCALID": "0",
            "SLURM_NODELIST": "n[1-2]", "SLURM_JOB_ID": "123456",
        },
        Place(2, 4, 0, "tcp://n1:18456"),
    ),
    "srun, one": ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, Place()),
}  # fmt: skip


@pytest.fixture
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [n for n in os.environ if n.startswith("SLURM_") or n in {"RANK", "WORLD_SIZE", "LOCAL_RANK"}]
    for name in (*names, "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # so that what Lightning sets is undone afterwards
        monkeypatch.delenv(name)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_place_that_a_launcher_gives(launcher: str, monkeypatch: pytest.MonkeyPatch, no_launcher: None) -> None:
    environment, place = LAUNCHERS[launcher]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched() == place


def test_a_launcher_that_says_too_little_is_one_line(monkeypatch: pytest.MonkeyPatch, no_launcher: None) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with pytest.raises(ConfigError, match=r"trainer: the launcher of this process: .*--ntasks=2"):
        launched()


def test_launcher_and_settings_have_to_agree() -> None:
    check_launch(Place(), devices=4, num_nodes=1)
    check_launch(Place(1, 4), devices=2, num_nodes=2)
    with pytest.raises(ConfigError, match=r"trainer\.devices=1, trainer\.num_nodes=1: the launcher has started 2 proc"):
        check_launch(Place(0, 2), devices=1, num_nodes=1)
    with pytest.raises(ConfigError, match=r"trainer\.num_nodes=2: start one process per device, with srun or torchrun"):
        check_launch(Place(), devices=2, num_nodes=2)


MEET = """
import sys, time
from treg_exp.engine.processes import Place, meeting
rank = int(sys.argv[1])
with meeting(Place(rank, 2, rank, sys.argv[2])):
    if rank == 1:
        time.sleep(1)
        if sys.argv[3] == "lost": sys.exit(5)
        open(sys.argv[4], "w")
if rank == 0: open(sys.argv[4])
"""


@pytest.mark.parametrize(("what", "codes"), [("done", [0, 0]), ("lost", [1, 5])])
def test_the_first_process_goes_on_after_the_last_and_notices_a_lost_one(
    tmp_path: Path, what: str, codes: list[int]
) -> None:
    from lightning.fabric.plugins.environments.lightning import find_free_network_port

    url = f"tcp://127.0.0.1:{find_free_network_port()}"
    commands = [[sys.executable, "-c", MEET, str(rank), url, what, str(tmp_path / "file")] for rank in (0, 1)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    ends = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == codes, ends


def test_a_process_that_waits_for_the_others_can_be_stopped() -> None:
    from lightning.fabric.plugins.environments.lightning import find_free_network_port

    url = f"tcp://127.0.0.1:{find_free_network_port()}"
    imports = "import signal, torch.distributed.rendezvous, treg_exp.engine.processes"
    code = f"{imports}\nsignal.signal(signal.SIGTERM, lambda *_: 1 / 0)\nprint(flush=True)\n{MEET}"
    process = subprocess.Popen([sys.executable, "-c", code, "0", url], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(1)
    process.terminate()
    assert process.wait(timeout=30) == -signal.SIGTERM


def test_a_single_process_meets_nobody() -> None:
    with meeting(Place()):
        pass


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert device("auto", 1) == device("gpu", 1) == [1]
    assert device("cpu", 1) == 1
    check_devices("auto", 2)
    check_devices("cpu", 3)
    with pytest.raises(ConfigError, match=r"trainer\.devices=3: this machine has 2 GPUs"):
        check_devices("auto", 3)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert device("auto", 1) == 1
    check_devices("auto", 3)
