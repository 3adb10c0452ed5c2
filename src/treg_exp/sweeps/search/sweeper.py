"""``hydra/sweeper=optuna_search``: Optuna says what to try next, and every trial is a job like those of a grid."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from treg_exp.configuration.command_line import end_with
from treg_exp.configuration.places import one_line
from treg_exp.engine.journal import JOURNAL, require_optuna
from treg_exp.engine.objective import Objective
from treg_exp.engine.status import Status
from treg_exp.errors import ConfigError
from treg_exp.run_layout import iterate_rows
from treg_exp.sweeps.launching import FolderLauncher
from treg_exp.sweeps.manifest import NEEDS_NO_START, Job, Sweep
from treg_exp.sweeps.planning import Planner, dry_run, no_sweep, open_sweep
from treg_exp.sweeps.search.presence import Presence
from treg_exp.sweeps.search.settings import SearchSettings, cautions, resolved
from treg_exp.sweeps.search.space import Space, read_space
from treg_exp.sweeps.sweeping import JobSweeper, conclude, start_jobs

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from treg_exp.sweeps.search.study import SharedStudy

POLL_SECONDS = 2.0  # between two looks at a job that another process runs


class SearchSweeper(SearchSettings, JobSweeper):
    """A search: trial after trial, until the study has as many as were wanted."""

    def sweep(self, arguments: list[str]) -> None:
        """See `JobSweeper`."""
        self.check()
        require_optuna()
        if isinstance(self.launcher, FolderLauncher) and not self.launcher.waits:
            raise ConfigError("hydra.launcher.wait=false: not with a search, which learns from what its jobs give")
        from treg_exp.sweeps.search.results import announce, conclude_search, preview, write_results
        from treg_exp.sweeps.search.samplers import make_sampler
        from treg_exp.sweeps.search.study import WORKERS, SharedStudy

        given = [f"{key}={value}" for key, value in self.params.items()] + list(arguments)
        space = read_space(given, self.hydra_context.config_loader, self.average_over)
        sampler = make_sampler(self.sampler, self.seed, self.startup_trials, self.population, space)
        n_trials = self._wanted(space)
        path = Path(self.config.run_dir) if self.config.run_dir else self._folder(space)
        trial_planner = no_sweep(self.hydra_context, self.config)
        begun = (path / JOURNAL).is_file()
        objectives = None if begun and not self.config.dry_run else self._objectives(trial_planner, space)
        if self.config.dry_run:
            assert objectives is not None
            preview(path, space, sampler, objectives, n_trials, self)
            self.show_cost(space, path)
            return
        sweep, planner = open_sweep(self.hydra_context, self.config, given, path)
        presence = Presence(sweep.path / WORKERS)
        study = SharedStudy(sweep.path, space, sampler, presence)
        if objectives is None and not study.exists():  # the process that wanted to begin it was killed
            objectives = self._objectives(trial_planner, space)
        with presence.shown():
            middle = space.runs(space.middle())
            study.open(
                self.goals, objectives, trial_planner.files, lambda: "+".join(map(trial_planner.hash_of, middle))
            )
            study.try_again()
            announce(sweep, study, n_trials, self.sampler)
            started = 0
            while claimed := study.claim(self.n_jobs, n_trials):
                started += len(claimed)
                self._run(claimed, study, sweep, planner)
                write_results(Sweep(sweep.path), study)
            jobs = conclude_search(Sweep(sweep.path), study)
        conclude(Sweep(sweep.path), jobs, self.launcher, started)

    def _run(self, trials: Sequence[FrozenTrial], study: SharedStudy, sweep: Sweep, planner: Planner) -> None:
        """Run some trials at once, and tell the study what became of them."""
        jobs = {trial.number: own for trial in trials if (own := self._plan(trial, study, planner))}
        every = {job.id: job for own in jobs.values() for job in own}
        if missing := [job for job in every.values() if sweep.status(job).state not in NEEDS_NO_START]:
            start_jobs(sweep, missing, self.launcher)
        for number, own in jobs.items():
            _tell(number, own, study, sweep)

    def _plan(self, trial: FrozenTrial, study: SharedStudy, planner: Planner) -> list[Job]:
        """The jobs of a trial; none where a configuration cannot be composed, which the study is told."""
        from optuna.trial import TrialState

        from treg_exp.engine.trial import Trial
        from treg_exp.sweeps.search.study import ERROR, JOB, values_of

        values = values_of(study.space, trial)
        shown = " ".join(f"{key}={value}" for key, value in values.items())
        try:
            jobs = planner.plan(study.space.runs(values))
        except (ConfigError, HydraException, OmegaConfBaseException) as error:
            print(f"error: trial {trial.number}: {shown}: {one_line(error)}", file=sys.stderr, flush=True)
            study.note(trial.number, **{ERROR: one_line(error)})
            study.tell(trial.number, TrialState.FAIL)
            end_with(2)
            return []
        folders = [planner.sweep.folder(job) for job in jobs]
        print(f"trial {trial.number}: {shown}  ({', '.join(map(str, folders))})", flush=True)
        study.note(trial.number, **{JOB: " ".join(job.id for job in jobs)})
        for job, folder in zip(jobs, folders, strict=True):
            if planner.sweep.status(job).state not in NEEDS_NO_START:
                objective = next(iter(study.objectives))
                Trial(trial.number, objective, self.pruner_settings()).write(folder)
        return jobs

    def _objectives(self, planner: Planner, space: Space) -> dict[str, str]:
        """Objectives by ``variant/column``, as a run from the middle of the space would have them.

        Raises:
            ConfigError: such a run cannot be, or has no such column.
        """
        from treg_exp.experiment import Experiment
        from treg_exp.silence import silence_libraries

        silence_libraries()
        for overrides in space.runs(space.middle()):
            cfg = planner.compose(overrides)
            if cfg.get("mode") == "fit":
                raise ConfigError("hydra/sweeper=optuna_search: searches settings of runs, not with mode=fit")
            experiment = Experiment.from_config(cfg)
        found = resolved(self.goals, experiment.variants, experiment.columns.known)
        for note in cautions(found, experiment.columns.known):
            print(f"note: {note}", file=sys.stderr, flush=True)
        return found

    def _wanted(self, space: Space) -> int:
        """Trials of the study; of a grid not more than it has points."""
        if self.sampler != "grid":
            assert self.n_trials is not None
            return self.n_trials
        points = len(space.grid())
        return min(points, self.n_trials or points)

    def _folder(self, space: Space) -> Path:
        """The folder of a search that nobody gave one: the same for the same search, however many trials it has."""
        from treg_exp.sweeps.search.study import identity_of

        about = [space.described(), identity_of(space.fixed), self.goals, self.sampler, self.seed]
        return Path("runs") / f"search-{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:8]}"

    def show_cost(self, space: Space, path: Path) -> None:
        """What a trial from the middle of the space would cost."""
        print(
            "the runs of one of them, from the middle:" if space.averaged else "one of them, from the middle:",
            flush=True,
        )
        dry_run(space.runs(space.middle()), no_sweep(self.hydra_context, self.config), path)


def _tell(number: int, jobs: Sequence[Job], study: SharedStudy, sweep: Sweep) -> None:
    """Tell the study what the run folders of a trial say; its value is the mean over them."""
    from optuna.trial import TrialState

    from treg_exp.sweeps.search.results import told
    from treg_exp.sweeps.search.study import ERROR

    statuses = {job.id: _ended(job, sweep) for job in jobs}
    folders = [sweep.folder(job) for job in jobs]
    states = {status.state for status in statuses.values()}
    if states == {"finished"}:
        values = {
            name: [Objective.named(name).mean(iterate_rows(each)) for each in folders] for name in study.objectives
        }
        if lacking := [name for name, own in values.items() if None in own]:
            study.note(number, **{ERROR: f"no value of {', '.join(lacking)}"})
            study.tell(number, TrialState.FAIL)
            end_with(1)
        else:
            study.tell(number, TrialState.COMPLETE, [fmean(v for v in own if v is not None) for own in values.values()])
    elif "failed" in states:
        told_by = next(job for job in jobs if statuses[job.id].state == "failed")
        study.note(number, **{ERROR: statuses[told_by.id].error or f"see {sweep.folder(told_by)}"})
        study.tell(number, TrialState.FAIL)
    elif states == {"pruned"}:
        study.tell(number, TrialState.PRUNED)
    else:  # nobody has run it to its end: the same command does
        for job in (job for job in jobs if statuses[job.id].state != "finished"):
            print(f"error: trial {number}: {statuses[job.id].state}: {sweep.folder(job)}", file=sys.stderr, flush=True)
        end_with(1)
        return
    print(told(study, number), flush=True)


def _ended(job: Job, sweep: Sweep) -> Status:
    """The status of a job that no other process runs any more."""
    while (status := sweep.status(job)).state == "running":
        time.sleep(POLL_SECONDS)
    return status
