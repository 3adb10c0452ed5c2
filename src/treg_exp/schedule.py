"""Noise schedule of a diffusion prior: timesteps, cumulative alphas and the moves between noise levels.

z_t = sqrt(alpha_bar) z_0 + sqrt(1 - alpha_bar) eps. All arithmetic is on Python floats and float32 tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Prediction = Literal["epsilon", "v_prediction", "sample"]


@dataclass(frozen=True)
class Point:
    """One noise level.

    Attributes:
        t: the timestep that the network is told.
        alpha_bar: cumulative alpha in (0, 1] that belongs to z_t (may be shifted against t, see ``Schedule.steps``).
    """

    t: int
    alpha_bar: float

    def tweedie(self, z_t: Tensor, eps: Tensor) -> Tensor:
        """Posterior mean z_0 = (z_t - sqrt(1 - alpha_bar) eps) / sqrt(alpha_bar)."""
        return (z_t - math.sqrt(1 - self.alpha_bar) * eps) / math.sqrt(self.alpha_bar)

    def diffuse(self, z_0: Tensor, eps: Tensor) -> Tensor:
        """z_t from a clean latent and noise."""
        return math.sqrt(self.alpha_bar) * z_0 + math.sqrt(1 - self.alpha_bar) * eps

    def eps(self, output: Tensor, z_t: Tensor, prediction: Prediction) -> Tensor:
        """The noise estimate, whatever the network predicts (v = sqrt(ab) eps - sqrt(1 - ab) z_0)."""
        a, s = math.sqrt(self.alpha_bar), math.sqrt(1 - self.alpha_bar)
        if prediction == "epsilon":
            return output
        if prediction == "v_prediction":
            return a * output + s * z_t
        return (z_t - a * output) / s


@dataclass(frozen=True)
class Step(Point):
    """One step of a sampler: from (t, alpha_bar) to the next lower noise level.

    Attributes:
        index: 0-based position k in the run.
        alpha_bar_prev: cumulative alpha after the step.
    """

    index: int
    alpha_bar_prev: float

    def ddim(self, z_0: Tensor, eps: Tensor) -> Tensor:
        """Deterministic move sqrt(ab_prev) z_0 + sqrt(1 - ab_prev) eps (Song et al., DDIM, eta = 0)."""
        return math.sqrt(self.alpha_bar_prev) * z_0 + math.sqrt(1 - self.alpha_bar_prev) * eps

    def renoise(self, z_0: Tensor, eps: Tensor, noise: Tensor) -> Tensor:
        """Stochastic move of TReg: DDIM with eta^2 sigma^2 = ab_prev (1 - ab_prev).

        sqrt(ab_prev) z_0 + (1 - ab_prev) eps + sqrt(ab_prev (1 - ab_prev)) n; the total noise variance is
        (1 - ab_prev)^2 + ab_prev (1 - ab_prev) = 1 - ab_prev.
        """
        ab = self.alpha_bar_prev
        return math.sqrt(ab) * z_0 + (1 - ab) * eps + math.sqrt(ab * (1 - ab)) * noise


@dataclass(frozen=True)
class Schedule:
    """A discrete training schedule and the timesteps that a sampler visits.

    Attributes:
        alphas_cumprod: cumulative alphas of the training steps, decreasing.
        final_alpha: cumulative alpha after the last step (diffusers: ``set_alpha_to_one`` False -> alphas_cumprod[0]).
        prediction: what the network predicts.
        steps_offset: added to every timestep (1 for Stable Diffusion).
    """

    alphas_cumprod: Sequence[float]
    final_alpha: float
    prediction: Prediction = "epsilon"
    steps_offset: int = 1

    def timesteps(self, steps: int) -> list[int]:
        """``steps`` timesteps, highest first, with the "leading" spacing of diffusers."""
        train = len(self.alphas_cumprod)
        most = train - self.steps_offset
        if not 1 <= steps <= most:
            raise ValueError(f"steps={steps}: must be between 1 and {most}, the length of the prior's schedule")
        stride = train // steps
        return [k * stride + self.steps_offset for k in reversed(range(steps))]

    def point(self, t: int, shift: int = 0) -> Point:
        """The noise level at timestep ``t``; below 0 it is the end of the schedule."""
        if t < 0:
            return Point(t, self.final_alpha)
        index = t - shift
        return Point(t, self.alphas_cumprod[index] if index >= 0 else 1.0)

    def steps(self, steps: int, alpha_shift: int = 0) -> list[Step]:
        """The moves of a sampler.

        Args:
            steps: how many.
            alpha_shift: 0 uses alphas_cumprod[t]; 1 reproduces the released TReg code, whose table is prefixed by
                1.0 so that alphas_cumprod[t - 1] is used while the network is told t.
        """
        stride = len(self.alphas_cumprod) // steps if steps else 0
        moves = []
        for k, t in enumerate(self.timesteps(steps)):
            before, after = self.point(t, alpha_shift), self.point(t - stride, alpha_shift)
            moves.append(Step(t, before.alpha_bar, k, after.alpha_bar))
        return moves
