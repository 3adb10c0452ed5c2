"""Schedules in sigma alone, z_t = z_0 + sigma eps: EDM (Karras et al., 2206.00364), with continuous levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from treg_exp.errors import FieldError
from treg_exp.schedule.levels import Level, Move


@dataclass(frozen=True)
class Karras:
    """Levels spaced evenly in sigma^(1/rho); the network is told log(sigma) / 4.

    Attributes:
        sigma_min: smallest level that the network is asked at, > 0; the run ends at 0.
        sigma_max: first level.
        rho: the larger, the more steps at low noise.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise FieldError("sigma_min", self.sigma_min, f"must be in (0, sigma_max={self.sigma_max})")
        if not self.rho > 0:
            raise FieldError("rho", self.rho, "must be > 0")

    def level(self, t: float) -> Level:
        """See ``Schedule``."""
        return Level(t, 1.0, math.exp(4 * t))

    def moves(self, steps: int, latent_shape: Sequence[int] = ()) -> list[Move]:
        """See ``Schedule``."""
        if steps < 1:
            raise FieldError("steps", steps, "must be >= 1")
        high, low = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        sigmas = [(high + k / max(1, steps - 1) * (low - high)) ** self.rho for k in range(steps)]
        visited = [self.level(math.log(sigma) / 4) for sigma in sigmas] + [Level(-math.inf, 1.0, 0.0)]
        return [Move(k, now, following) for k, (now, following) in enumerate(pairwise(visited))]
