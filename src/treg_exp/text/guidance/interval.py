"""Guidance in an interval of noise levels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.schedule.levels import Level, Number
from treg_exp.text.guidance.base import ScaledGuidance, check_scale


@dataclass(frozen=True)
class IntervalGuidance(ScaledGuidance):
    """Guidance where low < sigma / alpha <= high, the prompt alone elsewhere (Kynkäänniemi et al., 2404.07724).

    Outside the interval a step costs one network evaluation.

    Attributes:
        scale: inside the interval, see ``ConstantGuidance``.
        low: lower end, as noise per signal, sigma / alpha (the paper's for SDXL: 0.28).
        high: upper end, likewise (5.42).
    """

    scale: float = 3.0
    low: float = 0.28
    high: float = 5.42

    def __post_init__(self) -> None:
        check_scale("scale", self.scale)
        if not 0 <= self.low < self.high:
            raise FieldError("low", self.low, f"must be noise per signal with 0 <= low < high={self.high}")

    def scale_at(self, level: Level) -> Number:
        """See :class:`ScaledGuidance`."""
        above, below = level.sigma > self.low * level.alpha, level.sigma <= self.high * level.alpha
        if isinstance(above, Tensor) or isinstance(below, Tensor):
            return torch.where(torch.as_tensor(above) & torch.as_tensor(below), self.scale, 1.0)
        return self.scale if above and below else 1.0
