"""Noise schedule of a diffusion prior: timesteps, cumulative alphas and the moves between noise levels.

z_t = sqrt(alpha_bar) z_0 + sqrt(1 - alpha_bar) eps. All arithmetic is on Python floats and float32 tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from torch import Tensor

Prediction = Literal["epsilon", "v_prediction", "sample"]
Spacing = Literal["leading", "trailing", "linspace", "lcm"]


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
        spacing: which timesteps N steps visit, under the names of diffusers: ``leading`` (Stable Diffusion),
            ``trailing`` (begins at the very end, as models distilled to a few steps need), ``linspace``, or ``lcm``:
            every so many of the `lcm_steps` that a consistency model was distilled on (Luo et al., 2310.04378).
        steps_offset: added to every timestep of ``leading`` (1 for Stable Diffusion).
        lcm_steps: length of the grid of ``lcm``.
    """

    alphas_cumprod: Sequence[float]
    final_alpha: float
    prediction: Prediction = "epsilon"
    spacing: Spacing = "leading"
    steps_offset: int = 1
    lcm_steps: int = 50

    def __post_init__(self) -> None:
        if self.prediction not in get_args(Prediction):
            raise ValueError(f"prediction_type={self.prediction}: allowed are {', '.join(get_args(Prediction))}")
        if self.spacing not in get_args(Spacing):
            raise ValueError(f"timestep_spacing={self.spacing}: allowed are {', '.join(get_args(Spacing))}")

    def timesteps(self, steps: int) -> list[int]:
        """``steps`` timesteps, highest first.

        Raises:
            ValueError: more steps than there are timesteps, or none.
        """
        train = len(self.alphas_cumprod)
        most = {"leading": train - self.steps_offset, "lcm": self.lcm_steps}.get(self.spacing, train)
        if not 1 <= steps <= most:
            raise ValueError(f"steps={steps}: must be between 1 and {most}, the length of the prior's schedule")
        if self.spacing == "trailing":
            return [round(train - k * train / steps) - 1 for k in range(steps)]
        if self.spacing == "linspace":
            return [round(k * (train - 1) / max(1, steps - 1)) for k in reversed(range(steps))]
        if self.spacing == "lcm":
            grid = [(k + 1) * (train // self.lcm_steps) - 1 for k in reversed(range(self.lcm_steps))]
            return [grid[k * self.lcm_steps // steps] for k in range(steps)]
        stride = train // steps
        return [k * stride + self.steps_offset for k in reversed(range(steps))]

    def point(self, t: int, shift: int = 0) -> Point:
        """The noise level at timestep ``t``; below 0 it is the end of the schedule.

        Raises:
            ValueError: nothing of the image is left at ``t``, so that a noise estimate says nothing about it.
        """
        if t < 0:
            return Point(t, self.final_alpha)
        index = t - shift
        alpha_bar = self.alphas_cumprod[index] if index >= 0 else 1.0
        if alpha_bar < 1e-9:
            raise ValueError(
                f"the prior's schedule has no signal at timestep {t} (rescale_betas_zero_snr); take "
                "prior.timestep_spacing=leading and fewer than half as many steps as the schedule has"
            )
        return Point(t, alpha_bar)

    def steps(self, steps: int, alpha_shift: int = 0) -> list[Step]:
        """The moves of a sampler.

        Args:
            steps: how many.
            alpha_shift: 0 uses alphas_cumprod[t]; 1 reproduces the released TReg code, whose table is prefixed by
                1.0 so that alphas_cumprod[t - 1] is used while the network is told t.
        """
        visited = [*self.timesteps(steps), -1]
        moves = []
        for k, (t, following) in enumerate(pairwise(visited)):
            before, after = self.point(t, alpha_shift), self.point(following, alpha_shift)
            moves.append(Step(t, before.alpha_bar, k, after.alpha_bar))
        return moves
