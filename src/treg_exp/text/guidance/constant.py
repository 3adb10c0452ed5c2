"""Guidance with one scale."""

from __future__ import annotations

from dataclasses import dataclass

from treg_exp.schedule.levels import Level
from treg_exp.text.guidance.base import ScaledGuidance, check_scale


@dataclass(frozen=True)
class ConstantGuidance(ScaledGuidance):
    """Classifier-free guidance with one scale: null + scale * (prompt - null) (Ho and Salimans, 2207.12598).

    Attributes:
        scale: 1 is the prompt alone and 0 the null text alone (one network evaluation each); others cost two.
    """

    scale: float = 2.0

    def __post_init__(self) -> None:
        check_scale("scale", self.scale)

    def scale_at(self, level: Level) -> float:
        """The same everywhere."""
        return self.scale
