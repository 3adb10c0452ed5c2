"""What a user may choose about one training stage."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from treg_exp.files import read_json, write_json


@dataclass(frozen=True)
class StageSettings:
    """Budget, batch and bookkeeping of one stage.

    Training ends at whichever of the two budgets is reached first. Only a step budget makes two runs equal:
    a time budget depends on the machine.

    Attributes:
        folder: where checkpoint and figures of this stage are kept.
        minutes: time budget over all continuations; None for no limit.
        steps: step budget over all continuations; None for no limit.
        batch_size: pictures per step.
        learning_rate: peak of Adam's schedule.
        matrix_rate: peak of Muon's schedule for hidden matrices and kernels; None to leave them to Adam, too.
        workers: threads that each take an equal part of the batch; 1 leaves parallelism to the operators.
        part_size: the most pictures that a worker takes at once, None for all of its share; gradients add up. The
            machine decides: 16 made the denoiser 20 % faster than 32 where the cache is small, 32 and 48 by 10 %
            faster than 16 where it is not.
        warmup_steps: linear warm-up.
        decay_fraction: last part of the budget in which the rate falls to zero along a cosine.
        ema_decay: upper bound of the averaging factor of the weights.
        seed: of everything random.
        precision: ``auto``, ``fp32`` or ``bf16``.
        device: ``auto``, ``cpu`` or ``cuda``.
        checkpoint_seconds: how much work a kill may cost.
        validate_every: steps between two rows of figures.
    """

    folder: Path
    minutes: float | None
    steps: int | None
    batch_size: int
    learning_rate: float
    matrix_rate: float | None = None
    workers: int = 1
    part_size: int | None = None
    warmup_steps: int = 100
    decay_fraction: float = 0.3
    ema_decay: float = 0.999
    seed: int = 0
    precision: str = "auto"
    device: str = "auto"
    checkpoint_seconds: float = 120.0
    validate_every: int = 250

    def __post_init__(self) -> None:
        """Refuse settings that can only be mistakes."""
        if self.minutes is None and self.steps is None:
            raise ValueError("a stage needs an end: give `minutes`, `steps` or both")
        if self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2, not {self.batch_size}")
        if self.batch_size % self.workers:
            raise ValueError(f"batch_size={self.batch_size} does not divide between workers={self.workers}")

    def keep(self) -> None:
        """Write the settings into the stage's folder."""
        write_json(self.folder / "settings.json", {**asdict(self), "folder": str(self.folder)})

    def kept(self) -> StageSettings:
        """The settings that the stage in this folder was last trained with; these, where it never was."""
        return replace(self, **{**read_json(self.folder / "settings.json"), "folder": self.folder})

    @property
    def parts(self) -> int:
        """How many equal parts a batch is computed in, the same number for every worker."""
        most = self.part_size or self.batch_size
        numbers = range(self.workers, self.batch_size + 1, self.workers)
        return next(n for n in numbers if self.batch_size % n == 0 and self.batch_size // n <= most)

    def progress(self, step: int, elapsed_s: float) -> float:
        """Fraction of the budget that is used up, 1 where the stage should end.

        Args:
            step: optimiser steps taken over all continuations.
            elapsed_s: seconds trained over all continuations.
        """
        by_steps = step / self.steps if self.steps else 0.0
        by_time = elapsed_s / (60.0 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))

    def rate_factor(self, step: int, elapsed_s: float) -> float:
        """Share of the peak learning rate at a point of the budget: warm-up, plateau, cosine to zero.

        A plateau rather than one long cosine lets a checkpoint be exported early at near its best, and lets the
        budget be extended.

        Args:
            step: optimiser steps taken so far.
            elapsed_s: seconds trained so far.
        """
        warm = min(1.0, (step + 1) / self.warmup_steps)
        left = (1.0 - self.progress(step, elapsed_s)) / self.decay_fraction
        return warm * (1.0 if left >= 1.0 else 0.5 - 0.5 * math.cos(math.pi * left))
