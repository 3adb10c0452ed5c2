"""What ``hydra/sweeper=optuna_search`` is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from treg_exp.configuration.places import errors_at
from treg_exp.engine.journal import PrunerSettings
from treg_exp.engine.objective import Objective
from treg_exp.errors import ConfigError, nearest

if TYPE_CHECKING:
    from treg_exp.metrics.column import Column

PLACE = "hydra.sweeper"
SAMPLERS = ("tpe", "random", "grid", "nsga2")
DIRECTIONS = ("maximize", "minimize")


@dataclass
class SearchSettings:
    """Settings of a search.

    Attributes:
        objectives: column of the results, or ``variant/column`` -> maximize or minimize.
        n_trials: trials of the whole study; None for all points of a grid.
        n_jobs: trials that are asked for, and handed to the launcher, at once.
        sampler: ``tpe`` (learns, Bergstra et al. 2011), ``random``, ``grid`` or ``nsga2`` (learns, for several
            objectives, Deb et al. 2002).
        seed: of the sampler.
        startup_trials: random trials before ``tpe`` learns.
        population: trials of one generation of ``nsga2``.
        average_over: overrides with lists of values, by key: a trial is one run for each combination of them, and its
            value the mean over these runs.
        pruner: see `PrunerSettings`, as all that begins with ``pruner``.
        pruner_after_trials: see there.
        pruner_after_samples: see there.
        pruner_every: samples between two comparisons.
        params: further overrides with several values, by key; those of the command line count more.
    """

    objectives: dict[str, str] | None = None
    n_trials: int | None = None
    n_jobs: int = 1
    sampler: str = "tpe"
    seed: int = 0
    startup_trials: int = 10
    population: int = 20
    average_over: dict[str, str] | None = None
    pruner: str = "none"
    pruner_after_trials: int = 5
    pruner_after_samples: int = 8
    pruner_every: int = 1
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def goals(self) -> dict[str, str]:
        """The objectives; none where none are given."""
        return dict(self.objectives or {})

    def check(self) -> None:
        """Find out whether the values can work.

        Raises:
            ConfigError: about the first that cannot.
        """
        if self.sampler not in SAMPLERS:
            hint = nearest(self.sampler, SAMPLERS)
            raise ConfigError(f"{PLACE}.sampler={self.sampler}: must be one of {', '.join(SAMPLERS)}{hint}")
        for name, least in (("n_trials", 1), ("n_jobs", 1), ("seed", 0), ("startup_trials", 0), ("population", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{PLACE}.{name}={value}: must be at least {least}")
        if self.n_trials is None and self.sampler != "grid":
            raise ConfigError(
                f"{PLACE}.n_trials has no value, and sampler={self.sampler} needs one: how many trials in all"
            )
        for name, direction in self.goals.items():
            if direction not in DIRECTIONS:
                hint = nearest(str(direction), DIRECTIONS)
                raise ConfigError(f"{PLACE}.objectives.{name}={direction}: must be maximize or minimize{hint}")
        self.pruner_settings()
        if self.pruner != "none" and len(self.goals) > 1:
            raise ConfigError(f"{PLACE}.pruner={self.pruner}: must be none with several objectives; keep one of them")
        if self.pruner != "none" and self.average_over:
            raise ConfigError(
                f"{PLACE}.pruner={self.pruner}: must be none with average_over, whose runs are of unlike scale"
            )

    def pruner_settings(self) -> PrunerSettings:
        """When runs end early.

        Raises:
            ConfigError: there is no such pruner, or it cannot take a number.
        """
        places = {
            "kind": f"{PLACE}.pruner", "report_every": f"{PLACE}.pruner_every",
            "after_trials": f"{PLACE}.pruner_after_trials", "after_samples": f"{PLACE}.pruner_after_samples",
        }  # fmt: skip
        numbers = self.pruner_after_trials, self.pruner_after_samples, self.pruner_every
        with errors_at("", renamed=places):
            return PrunerSettings(self.pruner, *numbers)  # type: ignore[arg-type]


def resolved(asked: Mapping[str, str], variants: Iterable[str], columns: Iterable[str]) -> dict[str, str]:
    """Objectives by ``variant/column``.

    Args:
        asked: as the user names them; what only one variant can have needs none.
        variants: of the run.
        columns: of its results.

    Raises:
        ConfigError: there is no such column, or several variants have it.
    """
    variants, columns = list(variants), list(columns)
    found = {}
    for name, direction in asked.items():
        variant, slash, column = name.rpartition("/")
        if column not in columns or (slash and variant not in variants):
            hint = nearest(column, columns) if column not in columns else ""
            raise ConfigError(
                f"{PLACE}.objectives.{name}: no such column{hint}; columns are {', '.join(columns)}, "
                f"of the variants {', '.join(variants)}"
            )
        if not slash and len(variants) > 1:
            several = ", ".join(f"{each}/{column}" for each in variants)
            raise ConfigError(f"{PLACE}.objectives.{name}: of which variant; must be one of {several}")
        found[f"{variant or variants[0]}/{column}"] = direction
    if not found:
        raise ConfigError(
            f"{PLACE}.objectives: nothing to optimise; say it as {PLACE}.objectives='{{{columns[0]}: maximize}}'; "
            f"columns are {', '.join(columns)}, of the variants {', '.join(variants)}"
        )
    return found


def cautions(objectives: Mapping[str, str], columns: Mapping[str, Column]) -> list[str]:
    """What somebody should know who optimises these: it stops nothing.

    Args:
        objectives: by ``variant/column``.
        columns: of the results, by name.
    """
    notes = []
    for name, direction in objectives.items():
        column = columns[Objective.named(name).column]
        better = {None: direction, True: "maximize", False: "minimize"}[column.higher_is_better]
        if better != direction:
            notes.append(f"{PLACE}.objectives.{name}={direction}: {better} is better in this column")
        if column.optimised:
            notes.append(f"{PLACE}.objectives.{name}: the solver raises this number directly, another one judges it")
    return notes
