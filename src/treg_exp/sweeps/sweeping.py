"""Sweepers: what is still to be done of a sweep, handed to a launcher, and what became of it, read from the folders."""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from treg_exp.configuration.command_line import end_with
from treg_exp.configuration.places import one_line
from treg_exp.engine.outcome import is_first
from treg_exp.errors import ConfigError
from treg_exp.quoting import hydra_text
from treg_exp.sweeps.comparison import compare
from treg_exp.sweeps.job import check
from treg_exp.sweeps.launching import FolderLauncher
from treg_exp.sweeps.manifest import NEEDS_NO_START, Job, Sweep, find_sweep, varying
from treg_exp.sweeps.planning import check_folders, dry_run, no_sweep, open_sweep, sweep_path

_SAYS = {"queued": "it has not begun", "stale": "its process has ended without a word; the same command continues it"}


class JobSweeper(Sweeper):
    """Base of our sweepers.

    Attributes:
        config: as Hydra has composed it for the sweep.
        launcher: starts the jobs; Hydra's own kinds work, too.
    """

    config: DictConfig
    launcher: Launcher
    hydra_context: HydraContext

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        if not is_first() or int(os.environ.get("WORLD_SIZE") or 1) > 1:
            raise ConfigError(
                "-m: start the sweep once, not in every process of torchrun or srun; its jobs start their processes "
                "themselves, with trainer.devices=N or hydra/launcher=slurm_ddp"
            )
        self.config, self.hydra_context = config, hydra_context
        make = Plugins.instance().instantiate_launcher
        self.launcher = make(hydra_context=hydra_context, task_function=task_function, config=config)

    @abstractmethod
    def sweep(self, arguments: list[str]) -> None:
        """Called by Hydra with the overrides of the command line."""


class GridSweeper(JobSweeper):
    """All combinations of the values, as Hydra's own sweeper has them.

    Args:
        params: further overrides with lists of values, by key; those of the command line come after them.
        leave_out: combinations that make no sense, each as the overrides that tell it: ``method=psld task=hdr``.
    """

    def __init__(self, params: dict[str, str] | None = None, leave_out: Sequence[str] = ()) -> None:
        self.params, self.leave_out = dict(params or {}), [set(each.split()) for each in leave_out]

    def sweep(self, arguments: list[str]) -> None:
        """See `JobSweeper`."""
        given = [f"{key}={value}" for key, value in self.params.items()] + list(arguments)
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        parsed = parser.parse_overrides(given)
        for each in (each for each in parsed if each.is_sweep_override() and not each.is_discrete_sweep()):
            raise ConfigError(
                f"{each.input_line}: a grid needs single values, as {each.get_key_element()}=1,2,5; "
                "hydra/sweeper=optuna_search searches an interval"
            )
        (every,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        combinations = self._sensible(every)
        check_folders(combinations)
        if self.config.dry_run:
            planner = no_sweep(self.hydra_context, self.config)
            dry_run(combinations, planner, sweep_path(self.config, given))
            return
        sweep, planner = open_sweep(self.hydra_context, self.config, given)
        jobs = planner.plan(combinations)
        conclude(sweep, jobs, self.launcher, started=run_jobs(sweep, jobs, self.launcher))

    def _sensible(self, combinations: Sequence[Sequence[str]]) -> list[Sequence[str]]:
        """Those that are not to be left out.

        Raises:
            ConfigError: what is to be left out names a key that the grid has not, or an option that its group has not,
                or it is all that there is.
        """
        keys = dict.fromkeys(part.partition("=")[0] for each in combinations for part in each)
        for part in (part for out in self.leave_out for part in out):
            key, _, value = part.partition("=")
            if key not in keys:
                raise ConfigError(f"hydra.sweeper.leave_out: {part}: this grid has no such key, only {', '.join(keys)}")
            if (options := self._options(key, value)) and value.rpartition("/")[2] not in options:
                raise ConfigError(f"hydra.sweeper.leave_out: {part}: no such option, only {', '.join(options)}")
        kept = [each for each in combinations if not any(out <= set(each) for out in self.leave_out)]
        if out_of_them := len(combinations) - len(kept):
            print(f"left out: {out_of_them} of {len(combinations)} combinations (hydra.sweeper.leave_out)", flush=True)
        if not kept:
            raise ConfigError("hydra.sweeper.leave_out: leaves nothing to do; it names what makes no sense")
        return kept

    def _options(self, group: str, option: str) -> list[str]:
        """The options of a group in the folder of ``option``; none where ``group`` is no group."""
        folder = option.rpartition("/")[0]
        found: list[str] = self.hydra_context.config_loader.get_group_options(f"{group}/{folder}".rstrip("/"))
        return found


class ResumeSweeper(JobSweeper):
    """What is missing of a sweep, from its folder alone: `treg-exp resume DIR`."""

    def sweep(self, arguments: list[str]) -> None:
        """See `JobSweeper`."""
        sweep = find_sweep(Path(self.config.run_dir))
        os.chdir(sweep.working_folder)
        jobs = list(sweep.jobs.values())
        conclude(sweep, jobs, self.launcher, started=run_jobs(sweep, jobs, self.launcher))


def run_jobs(sweep: Sweep, jobs: Sequence[Job], launcher: Launcher) -> int:
    """Start what is neither finished nor running, and wait for it; returns how many jobs that were."""
    states = {job.id: sweep.status(job).state for job in jobs}
    missing = [job for job in jobs if states[job.id] not in NEEDS_NO_START]
    print(f"sweep {sweep.path}: {_counts(states.values())}", flush=True)
    if missing:
        if isinstance(launcher, FolderLauncher) and launcher.queues:
            check(sweep.folder(missing[0]))
        start_jobs(sweep, missing, launcher)
    return len(missing)


def start_jobs(sweep: Sweep, jobs: Sequence[Job], launcher: Launcher) -> None:
    """Start jobs, whatever their state, and wait for them."""
    if isinstance(launcher, FolderLauncher):
        launcher.run([sweep.folder(job) for job in jobs])
        return
    # A launcher of somebody else composes the configuration by itself, when the job starts.
    own = [
        [*job.overrides, f"run_dir={hydra_text(str(sweep.folder(job).absolute()))}", "hydra.mode=RUN"] for job in jobs
    ]
    try:
        launcher.launch(own, initial_job_idx=0)
    except Exception as error:  # one lost job is no reason to say nothing of the others
        print(f"error: the launcher has ended with {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        end_with(1)


def conclude(sweep: Sweep, jobs: Sequence[Job], launcher: Launcher, started: int) -> None:
    """Say what became of the jobs, by their own word; the worst decides the exit code."""
    if not sweep.file.is_file():
        print(f"error: {sweep.path} was deleted while the sweep ran", file=sys.stderr, flush=True)
        end_with(1)
        return
    if isinstance(launcher, FolderLauncher) and not launcher.waits:
        return
    try:
        if table := compare(sweep, jobs, anew=started > 0):
            print(table, flush=True)
    except Exception as error:  # a full disk, a damaged summary: no reason to say nothing of the jobs
        print(f"error: no table of the jobs: {one_line(error)}", file=sys.stderr, flush=True)
        end_with(1)
    labels, states = varying(jobs), {job.id: sweep.status(job) for job in jobs}
    print(f"sweep {sweep.path}: {_counts(status.state for status in states.values())}", flush=True)
    for job_id, status in states.items():
        if status.state not in NEEDS_NO_START:
            told = status.problem or _SAYS.get(status.state, "see its folder")
            place = f"{sweep.path / job_id} ({labels[job_id]})"
            print(f"error: {status.state}: {place}: {told}", file=sys.stderr, flush=True)
            end_with(status.exit_code or 1)


def _counts(states: Any) -> str:
    counts = Counter(states)
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "no jobs"
