"""What a launcher says in the environment, and where the processes that it has started meet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from treg_exp.engine.launcher import MPI, TORCH, Place, check_launch, launched, meeting
from treg_exp.errors import ConfigError, RunFailedError

LAUNCHERS = {
    "nobody": ({}, Place()),
    "left over": ({"LOCAL_RANK": "0"}, Place()),
    "torchrun": (
        {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "one", "MASTER_PORT": "7"},
        Place(3, 4, 1, "tcp://one:7"),
    ),
    "torchrun, one": ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, Place()),
    "one of torchrun's is left over": ({"WORLD_SIZE": "4", "RANK": "1"}, Place()),
    "srun": (
        {
            "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "0",
            "SLURM_NODELIST": "n[1-4]", "SLURM_STEP_NODELIST": "n[3-4]", "SLURM_JOB_ID": "123456",
        },
        Place(2, 4, 0, "tcp://n3:18456"),
    ),
    "srun, another step of that job": (
        {
            "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_STEP_NODELIST": "n3",
            "SLURM_JOB_ID": "123456", "SLURM_STEP_ID": "2",
        },
        Place(1, 2, 1, "tcp://n3:18658"),
    ),
    "srun, one": ({"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, Place()),
    "sbatch without srun": ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, Place()),
}  # fmt: skip


@pytest.fixture
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [n for n in os.environ if n.startswith("SLURM_") or n in {*TORCH, *MPI}]
    for name in (*names, "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # so that what Lightning sets is undone afterwards
        monkeypatch.delenv(name)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_place_that_a_launcher_gives(launcher: str, monkeypatch: pytest.MonkeyPatch, no_launcher: None) -> None:
    environment, place = LAUNCHERS[launcher]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched() == place


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_NODELIST": "n1"}, "SLURM_JOB_ID' is not set"),
        ({"RANK": "zero", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "invalid literal"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "mpirun has started 2 processes, which cannot share a run; start them with"),
    ],
)
def test_a_launcher_that_cannot_be_followed_is_one_line(
    environment: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch, no_launcher: None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"^trainer: .*{told}"):
        launched()


def test_launcher_and_settings_have_to_agree() -> None:
    check_launch(Place(), devices=4, num_nodes=1)
    check_launch(Place(1, 4), devices=2, num_nodes=2)
    with pytest.raises(ConfigError, match=r"trainer\.devices=1, trainer\.num_nodes=1: the launcher has started 2 proc"):
        check_launch(Place(0, 2), devices=1, num_nodes=1)
    with pytest.raises(ConfigError, match=r"trainer\.num_nodes=2: start one process per device, with srun or torchrun"):
        check_launch(Place(), devices=2, num_nodes=2)


MEET = """
import os, sys, time
from treg_exp.engine.launcher import Place, meeting
rank, what = int(sys.argv[1]), sys.argv[3]
def begin():
    if what == "refused": sys.exit(2)
    time.sleep(0.5)
    open(sys.argv[4] + "begun", "x")
with meeting(Place(rank, 2, rank, sys.argv[2]), begin):
    open(sys.argv[4] + "begun")
    if rank == 1:
        if what == "lost": sys.exit(5)
        time.sleep(1)
        open(sys.argv[4], "w")
        if what == "stopped": time.sleep(2)
if rank == 0: open(sys.argv[4])
"""


@pytest.mark.parametrize(
    ("what", "codes"),
    [
        ("done", [0, 0]),
        ("refused", [2, 1]),
        ("lost", [1, 5]),
        pytest.param("stopped", [-signal.SIGINT, 0], marks=pytest.mark.slow),
    ],
)
def test_the_first_process_goes_on_after_the_last_and_notices_a_lost_one(
    tmp_path: Path, what: str, codes: list[int]
) -> None:
    """It alone begins, and the other ends with it where it cannot. Ctrl-C ends it while it waits for the other one,
    which has its work done by then and ends as if nothing were."""
    from lightning.fabric.plugins.environments.lightning import find_free_network_port

    url, file = f"tcp://127.0.0.1:{find_free_network_port()}", tmp_path / "file"
    commands = [[sys.executable, "-c", MEET, str(rank), url, what, str(file)] for rank in (0, 1)]
    processes = [
        subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        for command in commands
    ]  # fmt: skip
    while what == "stopped" and not file.exists():
        assert processes[1].poll() is None
        time.sleep(0.05)
    if what == "stopped":
        processes[0].send_signal(signal.SIGINT)
    ends = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == codes, ends
    assert ("RunFailedError: another process of the run is lost; the same" in ends[0]) == (what == "lost")
    assert ("RunFailedError: the first process of the run could not begin" in ends[1]) == (what == "refused")
    assert not any(noise in end for end in ends for noise in ("pair.cc", "typically"))
    assert "waiting for 1 more of the launcher's processes" in ends[0]


def test_a_process_that_waits_for_the_others_can_be_stopped() -> None:
    from lightning.fabric.plugins.environments.lightning import find_free_network_port

    url = f"tcp://127.0.0.1:{find_free_network_port()}"
    imports = "import signal, torch.distributed.rendezvous, treg_exp.engine.launcher"
    code = f"{imports}\nsignal.signal(signal.SIGTERM, lambda *_: 1 / 0)\nprint(flush=True)\n{MEET}"
    process = subprocess.Popen([sys.executable, "-c", code, "0", url, "done"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(1)
    process.terminate()
    assert process.wait(timeout=30) == -signal.SIGTERM


def test_others_that_never_come_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the variables of a launcher are left over from something else."""
    from lightning.fabric.plugins.environments.lightning import find_free_network_port

    monkeypatch.setattr("treg_exp.engine.launcher.FIRST_WAIT", timedelta(seconds=1))
    url = f"tcp://127.0.0.1:{find_free_network_port()}"
    told = f"^not all 2 processes have come to {url}: "
    with pytest.raises(RunFailedError, match=told), meeting(Place(0, 2, 0, url)):
        pass


def test_a_single_process_meets_nobody() -> None:
    with meeting(Place()):
        pass
