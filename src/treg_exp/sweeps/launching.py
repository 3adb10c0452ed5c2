"""Launchers of jobs that a sweep has planned: each runs what lies in a run folder, and reports through it alone."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from treg_exp.configuration.command_line import end_with
from treg_exp.engine.means import mean_of
from treg_exp.engine.status import read_status
from treg_exp.run_layout import iterate_rows
from treg_exp.sweeps.manifest import NEEDS_NO_START
from treg_exp.sweeps.planning import dry_run, no_sweep, open_sweep, sweep_path


class FolderLauncher(Launcher):
    """Base of our launchers.

    Attributes:
        config: as Hydra has composed it for the sweep.
        queues: whether jobs wait in a queue of somebody else; then the first one is checked before.
        waits: whether `run` returns when the jobs have ended; else it only hands them over.
        takes: class whose fields are the settings, where the launcher's own constructor takes any.
    """

    queues = False
    waits = True
    takes: type | None = None
    config: DictConfig
    hydra_context: HydraContext

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.hydra_context, self.config = hydra_context, config

    @abstractmethod
    def run(self, folders: Sequence[Path]) -> None:
        """Run the jobs of these folders, each by ``treg_exp.sweeps.job.execute``, and return when all have ended.

        A job that fails is no reason to stop, nor to raise: what became of it is in its ``status.json``. A launcher
        writes there only what the job itself could not, because its process was killed.
        """

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """For a sweeper that is not ours: plan the jobs, run them, and return the mean PSNR of each."""
        if self.config.dry_run:
            path = sweep_path(self.config, self.config.hydra.overrides.task)
            dry_run(job_overrides, no_sweep(self.hydra_context, self.config), path)
            return [_returned(Path(os.devnull), overrides) for overrides in job_overrides]
        sweep, planner = open_sweep(self.hydra_context, self.config, self.config.hydra.overrides.task)
        jobs = planner.plan(job_overrides)
        self.run([sweep.folder(job) for job in jobs if sweep.status(job).state not in NEEDS_NO_START])
        for status in map(sweep.status, jobs):
            end_with(0 if status.state in NEEDS_NO_START else status.exit_code or 1)
        return [_returned(sweep.folder(job), job.overrides) for job in jobs]


class InProcess(FolderLauncher):
    """One job after another, in this process: what several of them need is loaded once."""

    def run(self, folders: Sequence[Path]) -> None:
        """See `FolderLauncher`."""
        from treg_exp.sweeps.job import execute

        before = {folder: read_status(folder) for folder in folders}
        for number, folder in enumerate(folders, 1):
            if not folder.parent.is_dir():  # the sweep was deleted meanwhile, which `conclude` tells
                return
            now = read_status(folder)  # another program may work on the same sweep
            if now.state in NEEDS_NO_START or (now.state == "failed" and now != before[folder]):
                continue
            print(f"job {number} of {len(folders)}: {folder}", flush=True)
            execute(folder)


def _returned(folder: Path, overrides: Sequence[str]) -> JobReturn:
    job = JobReturn(overrides=overrides, status=JobStatus.COMPLETED)
    mean = mean_of(iterate_rows(folder), "psnr")
    job.return_value = float("nan") if mean is None else mean
    return job
