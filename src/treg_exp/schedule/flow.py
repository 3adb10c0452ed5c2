"""Rectified flow, z_t = (1 - sigma) z_0 + sigma eps: the schedule of Stable Diffusion 3 and Flux.

The shift moves steps towards high noise for large latents (Esser et al., 2403.03206, section 5.3.2); names of the
fields and values are those of diffusers' ``FlowMatchEulerDiscreteScheduler``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from treg_exp.errors import FieldError
from treg_exp.schedule.levels import Level, Move

ShiftType = Literal["exponential", "linear"]


@dataclass(frozen=True)
class Flow:
    """Levels of a rectified flow; the network is told t = 1000 sigma.

    Attributes:
        train_timesteps: the t of pure noise.
        shift: fixed shift s: sigma -> s sigma / (1 + (s - 1) sigma). Stable Diffusion 3 has 3.
        dynamic: the shift follows from a number mu instead, which is linear in the number of tokens of a latent (Flux).
        base_tokens: tokens at which mu is ``base_shift``.
        most_tokens: tokens at which mu is ``most_shift``; the line goes on beyond.
        base_shift: see ``base_tokens``.
        most_shift: see ``most_tokens``.
        shift_type: ``exponential`` takes exp(mu) for the shift, ``linear`` mu itself.
        terminal: stretch the levels so that the last one asked is this sigma, None leaves them.
        patch: side of the squares of latent places that are one token.
        ends_at: the smallest sigma that is asked, before it is shifted: that of the training ``table`` (which is
            shifted already, as in diffusers) or one ``step``, 1 / steps (Flux).
    """

    train_timesteps: int = 1000
    shift: float = 1.0
    dynamic: bool = False
    base_tokens: int = 256
    most_tokens: int = 4096
    base_shift: float = 0.5
    most_shift: float = 1.15
    shift_type: ShiftType = "exponential"
    terminal: float | None = None
    patch: int = 2
    ends_at: Literal["table", "step"] = "table"

    def sigmas(self, steps: int, latent_shape: Sequence[int] = ()) -> list[float]:
        """The noise levels of ``steps`` network calls, highest first; see ``Schedule.moves`` for the arguments."""
        if not 1 <= steps <= self.train_timesteps:
            raise FieldError("steps", steps, f"must be between 1 and {self.train_timesteps}")
        shift = self.shift_for(latent_shape)
        table = 1 / self.train_timesteps
        last = 1 / steps if self.ends_at == "step" else table if self.dynamic else _shifted(table, shift)
        even = [1 + k * (last - 1) / max(1, steps - 1) for k in range(steps)]
        sigmas = [_shifted(sigma, shift) for sigma in even]
        if self.terminal is None or sigmas[-1] == 1:
            return sigmas
        stretch = (1 - sigmas[-1]) / (1 - self.terminal)
        return [1 - (1 - sigma) / stretch for sigma in sigmas]

    def shift_for(self, latent_shape: Sequence[int]) -> float:
        """The shift for latents of this shape, (c, h, w) or (c, t).

        Raises:
            FieldError: the schedule depends on the shape, and none is given.
        """
        if not self.dynamic:
            return self.shift
        if not latent_shape:
            raise FieldError("latent_shape", tuple(latent_shape), "this schedule depends on the size of the latents")
        tokens = math.prod(n // self.patch for n in latent_shape[1:])
        slope = (self.most_shift - self.base_shift) / (self.most_tokens - self.base_tokens)
        mu = self.base_shift + slope * (tokens - self.base_tokens)
        return math.exp(mu) if self.shift_type == "exponential" else mu

    def level(self, t: float) -> Level:
        """See ``Schedule``."""
        sigma = t / self.train_timesteps
        return Level(t, 1 - sigma, sigma)

    def moves(self, steps: int, latent_shape: Sequence[int] = ()) -> list[Move]:
        """See ``Schedule``."""
        visited = [self.level(sigma * self.train_timesteps) for sigma in [*self.sigmas(steps, latent_shape), 0.0]]
        return [Move(k, now, following) for k, (now, following) in enumerate(pairwise(visited))]


def _shifted(sigma: float, shift: float) -> float:
    return shift * sigma / (1 + (shift - 1) * sigma)
