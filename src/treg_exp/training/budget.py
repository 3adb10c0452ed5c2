"""When a training ends, and the learning rate on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Timer

from treg_exp.errors import FieldError


class Budget(Timer):
    """Lightning's `Timer`, which counts the time of all continuations, beside numbers of steps and of pictures.

    Training ends at whichever comes first. Only steps and pictures make two runs equal: time depends on the machine,
    and on who else uses it.

    Args:
        minutes: time over all continuations; None for no limit.
        steps: optimiser steps over all continuations; None for no limit.
        pictures: examples over all continuations, also over those with another batch size; None for no limit.
        batch_size: examples per step, which a number of pictures needs to be known.
    """

    def __init__(
        self,
        minutes: float | None = None,
        steps: int | None = None,
        pictures: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        limits = {"minutes": minutes, "steps": steps, "pictures": pictures}
        if all(value is None for value in limits.values()):
            raise FieldError("minutes", None, "a training needs an end: give minutes, steps or pictures")
        for name, value in limits.items():
            if value is not None and not value > 0:
                raise FieldError(name, value, "must be > 0, or null for no limit")
        if pictures is not None and not batch_size:
            raise FieldError("batch_size", batch_size, "must be >= 1 where the budget is a number of pictures")
        super().__init__(None if minutes is None else timedelta(minutes=minutes), verbose=False)
        self.minutes, self.steps, self.pictures, self.batch_size = minutes, steps, pictures, batch_size or 0
        self._counted = self._counted_at = 0  # pictures, and the step up to which they are counted

    def pictures_at(self, step: int) -> int:
        """Examples seen.

        Args:
            step: optimiser steps taken over all continuations.
        """
        return self._counted + (step - self._counted_at) * self.batch_size

    def progress(self, step: int) -> float:
        """Share of the budget that is used up, 1 at the end.

        Args:
            step: optimiser steps taken over all continuations.
        """
        by_steps = step / self.steps if self.steps else 0.0
        by_time = self.time_elapsed() / (60.0 * self.minutes) if self.minutes else 0.0
        by_pictures = self.pictures_at(step) / self.pictures if self.pictures else 0.0
        return min(1.0, max(by_steps, by_time, by_pictures))

    def on_fit_start(self, trainer: Trainer, *arguments: Any, **further: Any) -> None:
        """Do not start what is finished."""
        super().on_fit_start(trainer, *arguments, **further)
        self._stop_if_seen_enough(trainer)

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any, **further: Any) -> None:
        """Count, and end the training when its time is over or its pictures are seen."""
        super().on_train_batch_end(trainer, *arguments, **further)
        self._counted, self._counted_at = self.pictures_at(trainer.global_step), trainer.global_step
        self._stop_if_seen_enough(trainer)

    def state_dict(self) -> dict[str, Any]:
        """What a continuation has to know."""
        return {**super().state_dict(), "pictures": self._counted, "step": self._counted_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting; a checkpoint from before pictures were counted is taken to have had this batch size."""
        super().load_state_dict(state_dict)
        self._counted, self._counted_at = state_dict.get("pictures", 0), state_dict.get("step", 0)

    def _stop_if_seen_enough(self, trainer: Trainer) -> None:
        if self.pictures is not None and self._counted >= self.pictures:
            trainer.should_stop = True


@dataclass(frozen=True)
class Schedule:
    """Warm-up, plateau, cosine to zero.

    A plateau rather than one long cosine lets a checkpoint be exported early at near its best, and lets the budget be
    extended.

    Attributes:
        warmup_steps: steps in which the rate rises to its peak.
        decay_fraction: last part of the budget, in which it falls to zero; 0 for a rate that stays, 1 for one that
            falls from the start on, as annealing does.
    """

    warmup_steps: int = 100
    decay_fraction: float = 0.3

    def __post_init__(self) -> None:
        if self.warmup_steps < 1:
            raise FieldError("warmup_steps", self.warmup_steps, "must be >= 1")
        if not 0.0 <= self.decay_fraction <= 1.0:
            raise FieldError("decay_fraction", self.decay_fraction, "must be >= 0 and <= 1")

    def factor(self, step: int, progress: float) -> float:
        """Share of the peak learning rate for the next step.

        Args:
            step: optimiser steps taken so far.
            progress: share of the budget that is used up.
        """
        warm = min(1.0, (step + 1) / self.warmup_steps)
        if not self.decay_fraction:
            return warm
        left = (1.0 - progress) / self.decay_fraction
        return warm * (1.0 if left >= 1.0 else 0.5 - 0.5 * math.cos(math.pi * left))
