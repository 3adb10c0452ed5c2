"""The study of a search, shared by all processes that work on it. Imports Optuna, so it is imported when one is opened.

Whoever asks for a trial holds a lock meanwhile: all processes together make as many as were wanted, and none twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from treg_exp.configuration.identity import NOT_IDENTITY
from treg_exp.engine.journal import JOURNAL, STUDY, file_lock, open_journal
from treg_exp.errors import ConfigError
from treg_exp.sweeps.search.presence import Presence
from treg_exp.sweeps.search.space import Space, Value

WORKERS = ".workers"
ABOUT, JOB, WORKER, ERROR, AGAIN = "about", "job", "worker", "error", "again"  # attributes of the study and of trials


class SharedStudy:
    """A study in the folder of a sweep.

    Args:
        folder: of the sweep.
        space: what is searched.
        sampler: who says what is tried next.
        presence: of this process.
    """

    def __init__(self, folder: Path, space: Space, sampler: BaseSampler, presence: Presence) -> None:
        self.file, self.space, self.sampler, self.presence = folder / JOURNAL, space, sampler, presence
        self._storage = open_journal(self.file)
        self._study: optuna.Study | None = None
        self._mine: set[int] = set()

    @property
    def study(self) -> optuna.Study:
        """Optuna's, once it is opened."""
        assert self._study is not None
        return self._study

    @property
    def objectives(self) -> dict[str, str]:
        """``variant/column`` -> maximize or minimize."""
        found: dict[str, str] = self.study.user_attrs[ABOUT]["objectives"]
        return found

    def exists(self) -> bool:
        """Whether somebody has begun it."""
        return any(each.user_attrs.get(ABOUT) for each in self._storage.get_all_studies())

    def open(
        self,
        asked: Mapping[str, str],
        objectives: Mapping[str, str] | None,
        files: str = "",
        configuration: Callable[[], str] = str,
    ) -> None:
        """Begin the study, or continue one of the same search.

        Args:
            asked: objectives as the command names them.
            objectives: the same by ``variant/column``; may be None where the study exists.
            files: hash of the files that configurations are composed from.
            configuration: makes the hash of the configuration of one point; asked where the files have changed.

        Raises:
            ConfigError: the folder holds the study of another search.
        """
        about = {"space": self.space.described(), "goals": dict(asked), "settings": identity_of(self.space.fixed)}
        with self.locked():
            if not self.exists():
                assert objectives is not None
                directions = directions_of(objectives)
                made = optuna.create_study(
                    storage=self._storage, study_name=STUDY, directions=directions, sampler=self.sampler,
                    load_if_exists=True,
                )  # fmt: skip
                known = {"objectives": dict(objectives), "files": files, "configuration": configuration()}
                made.set_user_attr(ABOUT, {**about, **known})
            self._study = optuna.load_study(study_name=STUDY, storage=self._storage, sampler=self.sampler)
        before = self.study.user_attrs[ABOUT]
        for name, value in about.items():
            old, new = _apart(before[name], json.loads(json.dumps(value)))
            if old or new:
                before_it, in_it = (", ".join(each) or "nothing" for each in (old, new))
                raise ConfigError(
                    f"run_dir={self.file.parent} holds a search with {name} {before_it}, this one has {in_it}; "
                    "choose another run_dir, or the same search to continue it"
                )
        if before.get("files", files) != files and before["configuration"] != configuration():
            raise ConfigError(
                f"run_dir={self.file.parent} holds a search with other settings: a file of the configuration has "
                "changed since; choose another run_dir"
            )

    def trials(self) -> list[FrozenTrial]:
        """All trials, by number; those that were tried again are left out."""
        found = self.study.get_trials(deepcopy=False)
        replaced = {trial.user_attrs.get(AGAIN) for trial in found}
        return [trial for trial in found if trial.number not in replaced]

    def claim(self, count: int, n_trials: int) -> list[FrozenTrial]:
        """Trials for this process: those that a process has left behind, then new ones.

        Args:
            count: at most so many.
            n_trials: of the study, all processes together.
        """
        with self.locked():
            trials = self.trials()
            ours = [trial.number for trial in trials if self._is_left_behind(trial)][:count]
            waiting = sum(trial.state == TrialState.WAITING for trial in trials)
            room = n_trials - len(trials) + waiting
            ours += [self.study.ask().number for _ in range(min(count - len(ours), room))]
            for number in ours:
                trial = optuna.trial.Trial(self.study, self._id(number))
                for dimension in self.space.dimensions.values():
                    dimension.suggest(trial)
                trial.set_user_attr(WORKER, self.presence.name)
        self._mine |= set(ours)
        by_number = {trial.number: trial for trial in self.study.get_trials(deepcopy=False)}
        return [by_number[number] for number in ours]

    def try_again(self) -> int:
        """Add a trial with the values of each failed one, unless others are at work; returns how many."""
        with self.locked():
            trials = self.trials()
            if any(trial.state == TrialState.RUNNING and not self._is_left_behind(trial) for trial in trials):
                return 0
            failed = [trial for trial in trials if trial.state == TrialState.FAIL]
            for trial in failed:
                self.study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})
        return len(failed)

    def note(self, number: int, **attributes: Any) -> None:
        """Keep something with a trial."""
        for name, value in attributes.items():
            self._storage.set_trial_user_attr(self._id(number), name, value)

    def tell(self, number: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        """What became of a trial."""
        self.study.tell(number, values, state=state, skip_if_finished=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from asking for trials."""
        lock = file_lock(self.file.with_name(f"{self.file.name}.ask"))
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _is_left_behind(self, trial: FrozenTrial) -> bool:
        running = trial.state == TrialState.RUNNING and trial.number not in self._mine
        return running and not self.presence.sees(trial.user_attrs.get(WORKER, ""))

    def _id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)


def values_of(space: Space, trial: FrozenTrial) -> dict[str, Value]:
    """The values of a trial by key."""
    return {key: trial.params[key] for key in space.dimensions}


def directions_of(objectives: Mapping[str, str]) -> list[StudyDirection]:
    """The directions of objectives, as Optuna has them."""
    return [StudyDirection[direction.upper()] for direction in objectives.values()]


def identity_of(fixed: Sequence[str]) -> list[str]:
    """The overrides that all trials share, without those that change no result."""
    free = tuple(f"{key}." for key in NOT_IDENTITY)
    keys = {part: part.lstrip("+~").partition("=")[0] + "." for part in fixed}
    return sorted(part for part, key in keys.items() if not key.startswith(free))


def _apart(before: Any, now: Any) -> tuple[list[str], list[str]]:
    """What only one of two mappings or lists has."""
    old, new = ([": ".join(each) for each in v.items()] if isinstance(v, dict) else v for v in (before, now))
    return [each for each in old if each not in new], [each for each in new if each not in old]
