"""A sweep as job arrays of Slurm, through submitit.

A job is a run folder: what travels to the cluster is its path, and what comes back is its ``status.json``. A job that
is preempted or reaches its time limit is put back into the queue by submitit and continues by sample.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treg_exp.engine.environment import read_noted
from treg_exp.engine.outcome import INTERRUPTED
from treg_exp.engine.status import write_status
from treg_exp.errors import ConfigError
from treg_exp.run_layout import RunLayout
from treg_exp.sweeps.slurm.queue import largest_array

LOGS = ".submitit"
# Of the process that submits; in a job they would be taken for the job's own.
NOT_INHERITED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(kw_only=True)
class SlurmSettings:
    """What to ask Slurm for; the names are those of hydra-submitit-launcher, see ``man sbatch``.

    Attributes:
        timeout_min: time limit of a job in minutes; a job that reaches it goes back into the queue.
        max_num_timeout: how often it may do so. Preemptions do not count.
        signal_delay_s: seconds before the limit at which the job learns of it.
        nodes, tasks_per_node: processes of a job; more than one have to be `trainer.num_nodes` and `trainer.devices`.
        array_parallelism: jobs of the sweep that run at the same time at most.
        setup: shell commands before the job's own.
        python: command that starts Python, such as that of a container; None: the one that submits.
        srun_args: further arguments of srun.
        additional_parameters: further options of sbatch.
        submitit_folder: for scripts and logs; None: ``.submitit`` below the folder of the sweep.
        wait: until all jobs are over; else return when they are submitted.
        poll_s: seconds between two questions to Slurm.
    """

    name: str = "treg_exp"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    comment: str | None = None
    timeout_min: int = 60
    max_num_timeout: int = 20
    signal_delay_s: int = 120
    nodes: int = 1
    tasks_per_node: int | str = 1
    cpus_per_task: int | None = None
    gpus_per_node: int | str | None = None
    gres: str | None = None
    mem_gb: float | None = None
    constraint: str | None = None
    exclude: str | None = None
    array_parallelism: int = 256
    setup: Sequence[str] | None = None
    python: str | None = None
    srun_args: Sequence[str] | None = None
    additional_parameters: Mapping[str, Any] = field(default_factory=dict)
    stderr_to_stdout: bool = False
    submitit_folder: str | None = None
    wait: bool = True
    poll_s: float = 15.0

    def __post_init__(self) -> None:
        """Refuse what would fail on the cluster only."""
        for name, value, least in (
            ("timeout_min", self.timeout_min, 1), ("max_num_timeout", self.max_num_timeout, 0),
            ("tasks_per_node", self.tasks_per_node, 1), ("array_parallelism", self.array_parallelism, 1),
            ("signal_delay_s", self.signal_delay_s, 0), ("nodes", self.nodes, 1),
        ):  # fmt: skip
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                hint = " (with slurm_ddp, set trainer.devices to a number)" if name == "tasks_per_node" else ""
                raise ConfigError(f"hydra.launcher.{name}={value}: must be a whole number from {least}{hint}")
        if self.poll_s <= 0:
            raise ConfigError(f"hydra.launcher.poll_s={self.poll_s}: must be above 0")

    @property
    def tasks(self) -> int:
        """Processes of a job."""
        return self.nodes * int(self.tasks_per_node)

    def logs(self, sweep: Path) -> Path:
        """Where submitit keeps its scripts and the output of the jobs."""
        return Path(self.submitit_folder).absolute() if self.submitit_folder else sweep.absolute() / LOGS

    def parameters(self) -> dict[str, Any]:
        """For submitit's executor; what is not set is left to the cluster."""
        # One process that cannot go on must not leave the others waiting for it.
        together = ["--kill-on-bad-exit=1"] if self.tasks > 1 else []
        given = {
            "name": self.name, "timeout_min": self.timeout_min, "nodes": self.nodes,
            "tasks_per_node": self.tasks_per_node, "cpus_per_task": self.cpus_per_task, "mem_gb": self.mem_gb,
            "slurm_partition": self.partition, "slurm_account": self.account, "slurm_qos": self.qos,
            "slurm_comment": self.comment, "slurm_signal_delay_s": self.signal_delay_s, "slurm_gres": self.gres,
            "slurm_gpus_per_node": self.gpus_per_node or None, "slurm_constraint": self.constraint,
            "slurm_exclude": self.exclude, "slurm_setup": list(self.setup) if self.setup else None,
            "slurm_srun_args": [*together, *(self.srun_args or ())] or None,
            "slurm_additional_parameters": dict(self.additional_parameters) or None,
            "stderr_to_stdout": self.stderr_to_stdout,
        }  # fmt: skip
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class FolderJob:
    """What a job of Slurm does: it works on a run folder.

    Attributes:
        folder: absolute path of the run folder.
    """

    folder: str

    def __call__(self) -> None:
        """Work; a failure is the exit code of the job."""
        from treg_exp.sweeps.job import execute

        logging.getLogger("submitit").propagate = False  # it has a handler of its own
        folder, stop = Path(self.folder), _Stop()
        try:
            code = execute(folder)
        except KeyboardInterrupt:
            code = INTERRUPTED
            if stop.refused and not int(os.environ.get("SLURM_PROCID") or 0):
                now = {"state": "failed", "error": stop.refused, "exit_code": 1}
                write_status(folder, {**read_noted(RunLayout(folder).status), **now})
        if code:
            sys.exit(code)  # no exception: submitit would keep its text as a result, and the status has it

    def checkpoint(self) -> Any:
        """What submitit puts back into the queue: the same, since a run continues by sample."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class _Stop:
    """Makes a run end in order, as by Ctrl-C, when submitit has answered the signal that its time is nearly over.

    submitit's answer is to requeue the job and to raise an exit in the middle of whatever runs; or an error where the
    job may not be requeued, which a solver might take for its own.

    Attributes:
        refused: why the job was not requeued; empty where it was.
    """

    def __init__(self) -> None:
        from submitit.core.job_environment import JobEnvironment

        self.refused = ""
        self.number = JobEnvironment._usr_sig()
        self.answer: Any = signal.getsignal(self.number)
        if callable(self.answer):
            signal.signal(self.number, self)

    def __call__(self, number: int, frame: Any) -> None:
        """Handle the signal."""
        from submitit.core.utils import UncompletedJobError

        try:
            self.answer(number, frame)
        except UncompletedJobError as error:
            self.refused = f"{error} It continues with what is missing when it is started again"
            raise KeyboardInterrupt(self.refused) from None
        except SystemExit:
            raise KeyboardInterrupt from None


def submit(folders: Sequence[Path], settings: SlurmSettings, logs: Path) -> Iterator[tuple[Path, str]]:
    """Submit run folders as job arrays, as few as the cluster's limit allows.

    Args:
        folders: run folders, as a sweep has planned them.
        settings: what to ask for.
        logs: folder for submitit's files.

    Yields:
        Each folder with the id of its job, as soon as Slurm has taken it.

    Raises:
        ConfigError: Slurm does not take the jobs, with its own words; or submitit or Slurm is not installed.
    """
    try:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError
    except ImportError:
        raise ConfigError("hydra/launcher=slurm: needs submitit; pip install 'treg_exp[cluster]'") from None

    logs.mkdir(parents=True, exist_ok=True)
    size = largest_array()
    parts = [folders[first : first + size] for first in range(0, len(folders), size)]
    submitted = 0
    try:
        executor = submitit.AutoExecutor(
            logs, cluster="slurm", slurm_max_num_timeout=settings.max_num_timeout, slurm_python=settings.python
        )
        # several arrays run beside each other
        parallel = max(1, settings.array_parallelism // max(1, len(parts)))
        executor.update_parameters(**settings.parameters(), slurm_array_parallelism=parallel)
        for part in parts:
            with outside_of_jobs(), executor.batch():
                jobs = [executor.submit(FolderJob(str(folder.absolute()))) for folder in part]
            for folder, job in zip(part, jobs, strict=True):
                submitted += 1
                yield folder, job.job_id
    except (FailedJobError, FailedSubmissionError, RuntimeError) as error:
        kept = f"; {submitted} jobs were submitted before and stay" if submitted else ""
        raise ConfigError(f"hydra.launcher: Slurm does not take the jobs: {_told(error)}{kept}") from None


def check_tasks(folders: Sequence[Path], settings: SlurmSettings) -> None:
    """Compare the processes that Slurm would start with those that the runs expect.

    Raises:
        ConfigError: they differ; both numbers are said.
    """
    if settings.tasks == 1:
        return
    import yaml  # type: ignore[import-untyped]

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for folder in folders:
        config = yaml.load(RunLayout(folder).job.read_text(encoding="utf-8"), Loader=loader)
        trainer = config.get("trainer") or {}
        if config.get("mode") == "fit":
            raise ConfigError("mode=fit: trains in one process; take hydra/launcher=slurm")
        for ours, theirs in (("devices", "tasks_per_node"), ("num_nodes", "nodes")):
            wanted, started = trainer.get(ours, 1), getattr(settings, theirs)
            if wanted != started:
                both = f"trainer.{ours}={wanted} and hydra.launcher.{theirs}={started}"
                raise ConfigError(f"{both} must be the same number ({folder.name})")


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Hide the job or the processes in which this program runs; else srun and the new jobs take them for their own."""
    inside = "SLURM_JOB_ID" in os.environ
    hidden = {
        name: os.environ.pop(name)
        for name in tuple(os.environ)
        if name in NOT_INHERITED
        or name.startswith("SUBMITIT_")
        or (inside and name.startswith(("SLURM_", "SLURMD_", "SRUN_")) and name not in ("SLURM_CONF", "SLURM_CLUSTERS"))
    }
    # Jobs import what this program imports, and nothing from the current folder, which a sweep's manifest may choose.
    given = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    hidden |= {name: os.environ[name] for name in given if name in os.environ}
    os.environ.update(given)
    try:
        yield
    finally:
        for name in given:
            os.environ.pop(name, None)
        os.environ.update(hidden)


def _told(error: Exception) -> str:
    """The line of sbatch that says why; the rest is submitit's command and traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "error:" in line), lines[-1] if lines else type(error).__name__)
