"""Who says what a search tries next. Imports Optuna, so it is imported only where one is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from treg_exp.sweeps.search.space import Space, Value


def make_sampler(kind: str, seed: int, startup_trials: int, population: int, space: Space) -> BaseSampler:
    """A sampler by name.

    Args:
        kind: see `SearchSettings`.
        seed: of its random numbers.
        startup_trials: random ones before ``tpe`` learns.
        population: trials of one generation of ``nsga2``.
        space: what is searched.

    Raises:
        ConfigError: the space has no end of points, and all are to be tried.
    """
    if kind == "grid":
        return InOrder(space.grid())
    if kind == "random":
        return ByTrial(lambda number: RandomSampler(number), seed)
    if kind == "nsga2":
        return ByTrial(lambda number: NSGAIISampler(population_size=population, seed=number), seed)
    return ByTrial(lambda number: TPESampler(n_startup_trials=startup_trials, seed=number, constant_liar=True), seed)


class ByTrial(BaseSampler):
    """A sampler whose random numbers belong to the seed and the number of the trial.

    So several processes with the same command do not all try the same, and one that is continued goes on as if it
    had never stopped.

    Args:
        make: a sampler from a seed.
        seed: of the search.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make, self._seed = make, seed
        self._current: tuple[int, BaseSampler] | None = None

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if self._current is None or self._current[0] != trial.number:
            mixed = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)
            self._current = trial.number, self._make(int(mixed[0]))
        return self._current[1]

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """See Optuna's."""
        self._of(trial).before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """See Optuna's."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See Optuna's."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See Optuna's."""
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """See Optuna's."""
        self._of(trial).after_trial(study, trial, state, values)


class InOrder(BaseSampler):
    """All points of a grid, each once. Trials are made one at a time, so the next is the first that nobody has.

    Args:
        points: of the grid.
    """

    def __init__(self, points: Sequence[Mapping[str, Value]]) -> None:
        self.points = points

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """A point at a time."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A point at a time."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """This value of the first point that no other trial has."""
        begun = study._storage.get_trial(trial._trial_id).params
        taken = [other.params for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        free = (point for point in self.points if point not in taken and begun.items() <= point.items())
        return next(free, self.points[0])[param_name]
