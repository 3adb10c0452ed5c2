"""What a search has found: lines of the terminal, ``best.yaml`` and ``trials.csv``. Imports Optuna."""

from __future__ import annotations

import csv
import io
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from omegaconf import OmegaConf
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from treg_exp.engine.journal import JOURNAL, STUDY, open_journal
from treg_exp.files import write_text
from treg_exp.sweeps.manifest import Job, Sweep
from treg_exp.sweeps.search.settings import SearchSettings
from treg_exp.sweeps.search.space import Space
from treg_exp.sweeps.search.study import ERROR, JOB, SharedStudy, directions_of, values_of

BEST, TRIALS = "best.yaml", "trials.csv"
SHOWN = 20  # trials of a preview, and of a Pareto front


def announce(sweep: Sweep, study: SharedStudy, n_trials: int, sampler: str) -> None:
    """Say how far the study is, before anything is done."""
    goals = ", ".join(f"{direction} {name}" for name, direction in study.objectives.items())
    done = _counts(study.trials())
    print(f"search {sweep.path}: {done} of {n_trials} trials; {goals}; sampler {sampler}", flush=True)


def told(study: SharedStudy, number: int) -> str:
    """One line about a trial that is over."""
    trial = next(each for each in study.trials() if each.number == number)
    if trial.state == TrialState.COMPLETE:
        return f"trial {number}: {_values(study, trial)}"
    why = trial.user_attrs.get(ERROR)
    return f"trial {number}: {_word(trial)}" + (f": {why}" if why else "")


def conclude_search(sweep: Sweep, study: SharedStudy) -> list[Job]:
    """Say which trials are best, and write the files that do.

    Returns:
        The jobs of all trials that are over.
    """
    trials, best = study.trials(), write_results(sweep, study)
    print(f"search {sweep.path}: {_counts(trials)}", flush=True)
    if best:
        several = len(study.objectives) > 1
        print(f"Pareto front, {len(best)} trials:" if several else "best trial:", flush=True)
        for trial in best[:SHOWN]:
            print(f"  {trial.number}: {_values(study, trial)}  {_shown(study.space, trial)}", flush=True)
        print(f"see {sweep.path / BEST}, {sweep.path / TRIALS}", flush=True)
    return list(dict.fromkeys(job for trial in trials if trial.state.is_finished() for job in _jobs(sweep, trial)))


def write_results(sweep: Sweep, study: SharedStudy) -> list[FrozenTrial]:
    """Write ``trials.csv`` and ``best.yaml``, as far as the search is.

    Returns:
        The best trials.
    """
    best = best_trials(study)
    write_text(sweep.path / TRIALS, _table(sweep, study, study.trials()))
    if best:
        write_text(sweep.path / BEST, _best(study, best))
    return best


def best_trials(study: SharedStudy) -> list[FrozenTrial]:
    """The best trial; with several objectives those that no other one beats in all of them."""
    complete = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    if not complete:
        return []
    if len(study.objectives) > 1:
        return sorted(study.study.best_trials, key=lambda trial: tuple(trial.values))
    sign = -1 if next(iter(study.objectives.values())) == "maximize" else 1
    return [min(complete, key=lambda trial: sign * trial.values[0])]


def preview(
    path: Path, space: Space, sampler: BaseSampler, objectives: Mapping[str, str], n_trials: int,
    settings: SearchSettings,
) -> None:  # fmt: skip
    """Say what a search would try; nothing is written."""
    study = optuna.create_study(directions=directions_of(objectives), sampler=sampler)
    if (path / JOURNAL).is_file():
        study.add_trials(optuna.load_study(study_name=STUDY, storage=open_journal(path / JOURNAL)).trials)
    before = len(study.trials)
    known = {"tpe": settings.startup_trials, "nsga2": settings.population}.get(settings.sampler, n_trials)
    print(f"search {path}: {before} of {n_trials} trials are there; sampler {settings.sampler}", flush=True)
    for name, direction in objectives.items():
        print(f"  {direction} {name}")
    for key, about in space.described().items():
        print(f"  {key} {about}")
    count = min(SHOWN, n_trials - before, max(known - before, 1))
    for _ in range(count):
        trial = study.ask()
        values = {key: dimension.suggest(trial) for key, dimension in space.dimensions.items()}
        print(f"trial {trial.number}: " + " ".join(f"{key}={value}" for key, value in values.items()))
    if (left := n_trials - before - count) > 0:
        print(f"and {left} more" + (", which depend on what these give" if known < n_trials else ""), flush=True)


def _best(study: SharedStudy, best: Sequence[FrozenTrial]) -> str:
    """The best trials, and the commands that make their runs anew, also with other data."""
    found = []
    for trial in best:
        mine = [part for part in study.space.overrides(values_of(study.space, trial)) if not _is_of_the_search(part)]
        values = dict(zip(study.objectives, trial.values, strict=True))
        entry: dict[str, Any] = {"trial": trial.number, "values": values, "overrides": mine}
        if study.space.averaged:  # several runs, which are there: what to set says it all
            found.append({**entry, "folders": str(trial.user_attrs.get(JOB)).split()})
        else:
            found.append(
                {**entry, "folder": trial.user_attrs.get(JOB), "command": shlex.join(["python", "run.py", *mine])}
            )
    return OmegaConf.to_yaml(OmegaConf.create({"best": found}))


def _jobs(sweep: Sweep, trial: FrozenTrial) -> list[Job]:
    """The jobs of a trial that were planned."""
    return [sweep.jobs[job] for job in str(trial.user_attrs.get(JOB, "")).split() if job in sweep.jobs]


def _is_of_the_search(override: str) -> bool:
    return override.lstrip("+").partition("=")[0] in ("run_dir", "dry_run")


def _table(sweep: Sweep, study: SharedStudy, trials: Sequence[FrozenTrial]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    more = ("folder", "restorations", "seconds", "host", "error")
    table.writerow(["trial", "state", *study.objectives, *study.space.dimensions, *more])
    for trial in trials:
        jobs = _jobs(sweep, trial)
        values = list(trial.values or ()) if trial.state == TrialState.COMPLETE else []
        values += [""] * (len(study.objectives) - len(values))
        given = [trial.params.get(key, "") for key in study.space.dimensions]
        about: list[Any] = ["", "", "", ""]
        if jobs:
            all_of = [sweep.status(job) for job in jobs]
            hosts = " ".join(dict.fromkeys(str(status.host) for status in all_of))
            done, seconds = sum(status.finished for status in all_of), round(sum(status.seconds for status in all_of))
            about = [" ".join(job.id for job in jobs), done, seconds, hosts]
        table.writerow([trial.number, _word(trial), *values, *given, *about, trial.user_attrs.get(ERROR, "")])
    return text.getvalue()


def _values(study: SharedStudy, trial: FrozenTrial) -> str:
    return ", ".join(f"{name} {value:.5g}" for name, value in zip(study.objectives, trial.values, strict=True))


def _shown(space: Space, trial: FrozenTrial) -> str:
    return " ".join(f"{key}={value}" for key, value in values_of(space, trial).items())


def _word(trial: FrozenTrial) -> str:
    """The state of a trial in the words of a run."""
    words = {TrialState.COMPLETE: "finished", TrialState.FAIL: "failed", TrialState.WAITING: "queued"}
    return words.get(trial.state, trial.state.name.lower())


def _counts(trials: Sequence[FrozenTrial]) -> str:
    counts = Counter(_word(trial) for trial in trials)
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "0"
