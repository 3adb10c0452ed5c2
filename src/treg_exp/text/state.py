"""What a solver knows at a step, for rules of text that follow the signal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from treg_exp.schedule.levels import Level, Prediction


@dataclass(frozen=True)
class StepState:
    """A data step, after the measurement was looked at.

    Attributes:
        z_t: (B, *latent_shape) the latent that the step began with.
        level: its noise level.
        at: the guided estimates there.
        x_y: (B, *signal_shape) the signal of the step: after its proximal step or optimisation, where the solver has
            one; elsewhere D(z_0), which the gradient of the measurement has only pulled at (STSL: before its last
            update).
        misfit: 1/2 ||y - A(x)||^2 of signals (B, *signal_shape), (B,), differentiable; a prompt that is to explain the
            measurement (P2L, Chung et al., 2310.01110) descends on it.
        z_next: (B, *latent_shape) the latent that the next step begins with; None where it is not known yet.
        next: its noise level.
        turn: how often the solver has begun anew before.
    """

    z_t: Tensor
    level: Level
    at: Prediction
    x_y: Tensor
    misfit: Callable[[Tensor], Tensor]
    z_next: Tensor | None = None
    next: Level | None = None
    turn: int = 0
