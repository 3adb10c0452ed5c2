"""What can be said about Slurm without one; tests/cluster has a real one."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from tests.configuration.test_hydra_messages import composed
from treg_exp.configuration.hydra_guard import check_hydra
from treg_exp.errors import ConfigError
from treg_exp.run_layout import RunLayout
from treg_exp.sweeps.slurm import queue as slurm_queue
from treg_exp.sweeps.slurm import submission as slurm
from treg_exp.sweeps.slurm import waiting as slurm_wait
from treg_exp.sweeps.slurm.queue import Seen, largest_array, look, words_about
from treg_exp.sweeps.slurm.submission import FolderJob, SlurmSettings, check_tasks, outside_of_jobs


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Programs of Slurm that print what they are told to: code, output and errors by name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def say(name: str, output: str, code: int = 0, errors: str = "") -> None:
        (folder / name).write_text(f"#!/bin/sh\ncat <<'E'\n{output}\nE\necho '{errors}' >&2\nexit {code}\n")
        (folder / name).chmod(0o755)

    return say


def planned(folder: Path, **config: Any) -> Path:
    folder.mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(config), RunLayout(folder).job)
    return folder


def test_what_slurm_says(answers) -> None:
    answers("squeue", "7_0|RUNNING|None\n7_1|PENDING|Priority\n8|COMPLETED|None")
    seen = look(["7_0", "7_1", "8", "9"])
    assert seen == {
        "7_0": Seen("RUNNING", "None"), "7_1": Seen("PENDING", "Priority"), "8": Seen("COMPLETED", "None"),
        "9": Seen("GONE"),
    }  # fmt: skip
    assert [each.over for each in seen.values()] == [False, False, True, True]
    assert [each.told for each in seen.values()] == ["running", "pending (Priority)", "completed", "gone"]
    answers("squeue", "", 1, "slurm_load_jobs error: Invalid job id specified")
    assert look(["7_0"]) == {"7_0": Seen("GONE")}
    answers("squeue", "", 1, "slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    assert look(["7_0"]) is None
    assert look([]) == {}


def test_what_became_of_a_job(answers) -> None:
    answers("scontrol", "JobId=7 JobState=OUT_OF_MEMORY Reason=OutOfMemory ExitCode=0:125 NodeList=n3 Command=x")
    assert words_about("7", Seen("GONE")) == "OUT_OF_MEMORY, reason OutOfMemory, exit code 0:125, on n3"
    answers("scontrol", "JobId=7 JobState=NODE_FAIL Reason=BeginTime ExitCode=0:0 NodeList=(null)")
    assert words_about("7", Seen("GONE")) == "NODE_FAIL"
    answers("scontrol", "", 1, "Invalid job id specified")
    assert words_about("7", Seen("TIMEOUT")) == "TIMEOUT"
    assert words_about("7", Seen("GONE")) == "over, and Slurm no longer knows it"
    answers("sacct", "CANCELLED by 1000|0:15|n4")
    assert words_about("7", Seen("GONE")) == "CANCELLED by 1000, exit code 0:15, on n4"


def test_the_largest_array(answers) -> None:
    answers("scontrol", "MaxArraySize            = 501\nOther = 1")
    assert largest_array() == 500
    answers("scontrol", "", 1)
    assert largest_array() == 1000


def test_processes_that_disagree_with_the_tasks(tmp_path: Path) -> None:
    two = planned(tmp_path / "two", trainer={"devices": 2, "num_nodes": 1})
    check_tasks([two], SlurmSettings(tasks_per_node=2))
    check_tasks([two], SlurmSettings(tasks_per_node=1))  # the run starts the second process itself
    with pytest.raises(ConfigError, match=r"^trainer.devices=2 and hydra.launcher.tasks_per_node=4 must be the same"):
        check_tasks([two], SlurmSettings(tasks_per_node=4))
    with pytest.raises(ConfigError, match=r"^trainer.num_nodes=1 and hydra.launcher.nodes=3 must be the same"):
        check_tasks([two], SlurmSettings(tasks_per_node=2, nodes=3))
    with pytest.raises(ConfigError, match=r"^mode=fit: trains in one process"):
        check_tasks([planned(tmp_path / "fit", mode="fit")], SlurmSettings(tasks_per_node=2))
    with pytest.raises(ConfigError, match=r"tasks_per_node=auto: must be .*set trainer.devices to a number"):
        SlurmSettings(tasks_per_node="auto")


@pytest.mark.parametrize("values", [{"timeout_min": 0}, {"nodes": 0}, {"poll_s": 0}, {"max_num_timeout": -1}])
def test_values_that_cannot_work(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"^hydra\.launcher\.{next(iter(values))}="):
        SlurmSettings(**values)


def test_processes_of_one_job_end_together_and_what_is_not_said_is_left_to_the_cluster() -> None:
    alone = SlurmSettings(gpus_per_node=0).parameters()
    assert not {"slurm_gpus_per_node", "slurm_srun_args", "slurm_partition", "mem_gb"} & alone.keys()
    several = SlurmSettings(tasks_per_node=2, srun_args=["--mpi=none"], partition="gpu").parameters()
    assert several["slurm_srun_args"] == ["--kill-on-bad-exit=1", "--mpi=none"]
    assert (several["slurm_partition"], several["tasks_per_node"]) == ("gpu", 2)


def test_a_job_that_submits_does_not_hand_on_its_own_place(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = {"SLURM_JOB_ID": "1", "SLURM_PROCID": "3", "SLURM_CONF": "c", "RANK": "3", "SBATCH_ACCOUNT": "a"}
    for name, value in inside.items():
        monkeypatch.setenv(name, value)
    with outside_of_jobs():
        assert {name for name in inside if name in os.environ} == {"SLURM_CONF", "SBATCH_ACCOUNT"}
    assert {name: os.environ[name] for name in inside} == inside


@pytest.mark.parametrize(
    ("name", "value"),
    [("setup", ["touch x"]), ("python", "x"), ("srun_args", ["x"]), ("additional_parameters", {"a": "b"})],
)
def test_what_runs_commands_is_for_the_command_line(name: str, value: Any) -> None:
    node = composed("hydra/launcher=slurm").hydra
    check_hydra(node)
    OmegaConf.update(node, f"launcher.{name}", value, force_add=True)
    with pytest.raises(ConfigError, match=rf"^hydra\.launcher\.{name}[.\w]*: not allowed in a file"):
        check_hydra(node)


def test_what_a_job_could_not_say_itself_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_wait, "words_about", lambda job, seen: "NODE_FAIL, on n3")
    (tmp_path / "7_0_0_log.err").write_text(
        "one\rslurmstepd: error: the last words\n\nsrun: error: ended\nsubmitit INFO x\n"
    )
    folder = planned(tmp_path / "a")
    before = slurm_wait._status_bytes(folder)

    def settled(**status: Any) -> dict[str, Any]:
        RunLayout(folder).status.write_text(json.dumps(status))
        slurm_wait.settle(folder, "7_0", Seen("NODE_FAIL"), tmp_path, before)
        return json.loads(RunLayout(folder).status.read_text())

    error = "Slurm job 7_0: NODE_FAIL, on n3; 7_0_0_log.err: slurmstepd: error: the last words"
    found = settled(state="running", finished=3, slurm_job="7_0")
    assert (found["state"], found["error"], found["finished"], found["exit_code"]) == ("failed", error, 3, 1)
    assert settled(state="interrupted")["error"] == error
    assert settled(state="failed", error="of its own") == {"state": "failed", "error": "of its own"}
    assert settled(state="finished") == {"state": "finished"}
    assert settled(state="pruned", exit_code=0) == {"state": "pruned", "exit_code": 0}
    elsewhere = {"state": "running", "host": "laptop", "finished": 3}  # somebody was there first
    assert settled(**elsewhere) == elsewhere
    before = b'{"state": "failed", "error": "of its own"}'  # it has failed earlier, and now it did not begin
    RunLayout(folder).status.write_bytes(before)
    slurm_wait.settle(folder, "7_0", Seen("NODE_FAIL"), tmp_path, before)
    assert json.loads(RunLayout(folder).status.read_text())["error"] == error


def test_the_signal_of_a_time_limit_ends_a_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from submitit.core.utils import UncompletedJobError

    def refuse(*_: Any) -> None:
        raise UncompletedJobError("Job not requeued because: timed-out too many times.")

    def requeue(*_: Any) -> None:
        raise SystemExit(-1)

    def run(folder: Path) -> int:
        RunLayout(folder).status.write_text('{"state": "interrupted", "finished": 2}')
        try:
            os.kill(os.getpid(), signal.SIGUSR2)
        except Exception as error:  # as a solver that goes on without what failed
            return len(str(error))
        return 0

    monkeypatch.setattr("treg_exp.sweeps.job.execute", run)
    handler = signal.getsignal(signal.SIGUSR2)
    try:
        for answer in (requeue, refuse):
            signal.signal(signal.SIGUSR2, answer)
            with pytest.raises(SystemExit) as ended:
                FolderJob(str(tmp_path))()
            assert ended.value.code == 130
            said = json.loads(RunLayout(tmp_path).status.read_text())
            assert said["state"] == ("interrupted" if answer is requeue else "failed")
    finally:
        signal.signal(signal.SIGUSR2, handler)
    assert said["error"].startswith("Job not requeued because: timed-out too many times. It continues with what is")
    assert said["finished"] == 2


def test_a_folder_whose_job_is_there_gets_no_second_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [planned(tmp_path / name) for name in "abc"]
    logs = tmp_path / slurm.LOGS
    logs.mkdir()
    noted = [(folders[0], "5_0"), (folders[1], "5_1"), (folders[0], "6")]
    book = "".join(json.dumps({"folder": str(folder), "job": job}) + "\n" for folder, job in noted)
    (logs / slurm_wait.BOOK).write_text(book)
    states = {"5_0": "RUNNING", "5_1": "CANCELLED", "6": "PENDING"}
    monkeypatch.setattr(slurm_wait, "look", lambda jobs: {job: Seen(states[job]) for job in jobs})
    submitted: list[Path] = []

    def submit(new: list[Path], *_: Any):
        submitted.extend(new)
        yield from ((folder, f"9_{i}") for i, folder in enumerate(new))

    monkeypatch.setattr(slurm_wait, "submit", submit)
    slurm_wait.run_folders(folders, SlurmSettings(wait=False))
    assert submitted == folders[1:]
    assert (logs / slurm_wait.BOOK).read_text().count("\n") == 5
    monkeypatch.setattr(slurm_wait, "look", lambda jobs: None)
    with pytest.raises(ConfigError, match="Slurm does not answer"):
        slurm_wait.run_folders(folders, SlurmSettings(wait=False))


def test_in_a_slurm_job_lightning_requeues_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from treg_exp.engine.devices import TrainerSettings
    from treg_exp.engine.launcher import Place
    from treg_exp.restoring import make_trainer

    for name, value in {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "x"}.items():
        monkeypatch.setenv(name, value)
    trainer = make_trainer(SimpleNamespace(trainer=TrainerSettings(accelerator="cpu")), Place())
    assert type(trainer._accelerator_connector.cluster_environment).__name__ == "LightningEnvironment"


def test_without_slurm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^hydra\.launcher: .*srun"):
        slurm_wait.run_folders([planned(tmp_path / "a")], SlurmSettings())
    assert slurm_queue.look(["1"]) is None
