"""When a training ends, and the learning rate on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from lightning.pytorch.callbacks import Timer

from treg_exp.errors import FieldError


class Budget(Timer):
    """Lightning's `Timer`, which counts the time of all continuations, beside a number of steps.

    Training ends at whichever comes first. Only steps make two runs equal: time depends on the machine.

    Args:
        minutes: time over all continuations; None for no limit.
        steps: optimiser steps over all continuations; None for no limit.
    """

    def __init__(self, minutes: float | None = None, steps: int | None = None) -> None:
        if minutes is None and steps is None:
            raise FieldError("minutes", None, "a training needs an end: give minutes, steps or both")
        for name, value in (("minutes", minutes), ("steps", steps)):
            if value is not None and not value > 0:
                raise FieldError(name, value, "must be > 0, or null for no limit")
        super().__init__(None if minutes is None else timedelta(minutes=minutes), verbose=False)
        self.minutes, self.steps = minutes, steps

    def progress(self, step: int) -> float:
        """Share of the budget that is used up, 1 at the end.

        Args:
            step: optimiser steps taken over all continuations.
        """
        by_steps = step / self.steps if self.steps else 0.0
        by_time = self.time_elapsed() / (60.0 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))


@dataclass(frozen=True)
class Schedule:
    """Warm-up, plateau, cosine to zero.

    A plateau rather than one long cosine lets a checkpoint be exported early at near its best, and lets the budget be
    extended.

    Attributes:
        warmup_steps: steps in which the rate rises to its peak.
        decay_fraction: last part of the budget, in which it falls to zero.
    """

    warmup_steps: int = 100
    decay_fraction: float = 0.3

    def __post_init__(self) -> None:
        if self.warmup_steps < 1:
            raise FieldError("warmup_steps", self.warmup_steps, "must be >= 1")
        if not 0.0 < self.decay_fraction <= 1.0:
            raise FieldError("decay_fraction", self.decay_fraction, "must be > 0 and <= 1")

    def factor(self, step: int, progress: float) -> float:
        """Share of the peak learning rate for the next step.

        Args:
            step: optimiser steps taken so far.
            progress: share of the budget that is used up.
        """
        warm = min(1.0, (step + 1) / self.warmup_steps)
        left = (1.0 - progress) / self.decay_fraction
        return warm * (1.0 if left >= 1.0 else 0.5 - 0.5 * math.cos(math.pi * left))
