"""Variance-preserving schedules, alpha^2 + sigma^2 = 1: diffusers' tables and spacings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, get_args

from treg_exp.errors import FieldError
from treg_exp.schedule.levels import Level, Move

Spacing = Literal["leading", "trailing", "linspace", "lcm"]


@dataclass(frozen=True)
class VariancePreserving:
    """A discrete training schedule and the timesteps that a sampler visits.

    Attributes:
        alphas_cumprod: alpha^2 of the training steps, decreasing, in [0, 1].
        final_alpha: alpha^2 after the last step (diffusers: ``set_alpha_to_one`` False -> alphas_cumprod[0]).
        spacing: which timesteps N steps visit, under the names of diffusers: ``leading`` (Stable Diffusion),
            ``trailing`` (begins at the very end, as models distilled to a few steps need), ``linspace``, or ``lcm``:
            every so many of the `lcm_steps` that a consistency model was distilled on (Luo et al., 2310.04378).
        steps_offset: added to every timestep of ``leading`` (1 for Stable Diffusion).
        lcm_steps: length of the grid of ``lcm``.
        index_shift: 0 uses alphas_cumprod[t]; 1 reproduces the released TReg code, whose table is prefixed by 1, so
            that alphas_cumprod[t - 1] is used while the network is told t.
    """

    alphas_cumprod: Sequence[float] = field(repr=False)
    final_alpha: float
    spacing: Spacing = "leading"
    steps_offset: int = 1
    lcm_steps: int = 50
    index_shift: int = 0

    def __post_init__(self) -> None:
        if self.spacing not in get_args(Spacing):
            raise FieldError("timestep_spacing", self.spacing, f"allowed are {', '.join(get_args(Spacing))}")

    def shifted(self, index_shift: int) -> VariancePreserving:
        """The same schedule with another ``index_shift``."""
        return replace(self, index_shift=index_shift)

    def timesteps(self, steps: int) -> list[int]:
        """``steps`` timesteps, highest first.

        Those of ``leading`` are diffusers' where ``steps`` divides the schedule. Elsewhere diffusers rounds the stride
        down, so that 501 of 1000 steps begin at t = 501, at half the noise; here they are spread over the whole.

        Raises:
            FieldError: more steps than there are timesteps, or none.
        """
        train = len(self.alphas_cumprod)
        leading = (train - 1) // self.steps_offset if self.steps_offset else train  # the first must be in the table
        most = {"leading": leading, "lcm": self.lcm_steps}.get(self.spacing, train)
        if not 1 <= steps <= most:
            raise FieldError("steps", steps, f"must be between 1 and {most}: the prior has no more timesteps")
        if self.spacing == "trailing":
            return [round(train - k * train / steps) - 1 for k in range(steps)]
        if self.spacing == "linspace":
            return [round(k * (train - 1) / max(1, steps - 1)) for k in reversed(range(steps))]
        if self.spacing == "lcm":
            grid = [(k + 1) * (train // self.lcm_steps) - 1 for k in reversed(range(self.lcm_steps))]
            return [grid[k * self.lcm_steps // steps] for k in range(steps)]
        return [k * train // steps + self.steps_offset for k in reversed(range(steps))]

    def level(self, t: float) -> Level:
        """See ``Schedule``; below 0 it is the end of the schedule."""
        index = int(t) - self.index_shift
        squared = self.final_alpha if t < 0 else self.alphas_cumprod[index] if index >= 0 else 1.0
        return Level(t, math.sqrt(squared), math.sqrt(max(0.0, 1 - squared)))

    def moves(self, steps: int, latent_shape: Sequence[int] = ()) -> list[Move]:
        """See ``Schedule``."""
        visited = [self.level(t) for t in [*self.timesteps(steps), -1]]
        return [Move(k, now, following) for k, (now, following) in enumerate(pairwise(visited))]
