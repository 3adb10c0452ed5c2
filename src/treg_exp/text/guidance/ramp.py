"""Guidance that changes as the signal appears."""

from __future__ import annotations

from dataclasses import dataclass

from treg_exp.errors import FieldError
from treg_exp.schedule.levels import Level, Number
from treg_exp.text.guidance.base import ScaledGuidance, check_scale


@dataclass(frozen=True)
class RampGuidance(ScaledGuidance):
    """A scale that goes from ``early`` to ``late``: early + (late - early) share^power.

    share = alpha^2 / (alpha^2 + sigma^2) is the part of the signal in z_t, 0 at the start and 1 at the end. Wang et al.
    (2404.13040) compare such schedules and prefer those that rise.

    Attributes:
        early: scale in pure noise.
        late: scale at the clean end.
        power: 1 follows the share; larger numbers stay near ``early`` for longer.
    """

    early: float = 1.0
    late: float = 4.0
    power: float = 1.0

    def __post_init__(self) -> None:
        check_scale("early", self.early)
        check_scale("late", self.late)
        if not self.power > 0:
            raise FieldError("power", self.power, "must be > 0")

    def scale_at(self, level: Level) -> Number:
        """See :class:`ScaledGuidance`."""
        return self.early + (self.late - self.early) * level.signal_share**self.power
