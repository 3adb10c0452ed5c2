"""Guided sampling that never looks at the measurement: what the text alone makes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from treg_exp.noise import Noise
from treg_exp.priors.base import Prior
from treg_exp.solvers.base import OnStep, Solver, check_steps, ignore
from treg_exp.text.policy import TextPolicy
from treg_exp.types import Problem, Restoration, StepInfo


@dataclass(frozen=True)
class Unconditional(Solver):
    """Deterministic DDIM with guidance (Song et al., 2021). "Unconditional" on y, not on the text.

    Attributes:
        steps: sampling steps.
    """

    steps: int = 50

    def __post_init__(self) -> None:
        check_steps(self.steps)

    @torch.no_grad()
    def solve(
        self, problem: Problem, prior: Prior, policy: TextPolicy, noise: Noise, on_step: OnStep = ignore
    ) -> Restoration:
        """See :class:`Solver`."""
        z_t = noise.normal("start", like=problem.latent_like(prior))
        for step in prior.schedule.steps(self.steps):
            eps, eps_renoise = policy.predict(prior, z_t, step, problem.text)
            z_0 = step.tweedie(z_t, eps)
            z_t = step.ddim(z_0, eps_renoise)
            on_step(StepInfo(step, self.steps, z_0))
        return Restoration(prior.decode(z_0))
