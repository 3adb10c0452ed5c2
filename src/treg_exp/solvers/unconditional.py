"""Guided sampling that never looks at the measurement: what the text alone makes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from treg_exp.noise import Noise
from treg_exp.priors.prior import Prior
from treg_exp.schedule.second_order import Estimate, check_order, extrapolated
from treg_exp.solvers.base import OnStep, Restoration, Solver, StepInfo, check_steps, first_latent, ignore
from treg_exp.tasks.problems import EditProblem, InverseProblem, Problem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy


@dataclass(frozen=True)
class Unconditional(Solver):
    """Deterministic DDIM with guidance (Song et al., 2021). "Unconditional" on y, not on the text.

    Attributes:
        steps: sampling steps.
        order: 1 is DDIM; 2 is DPM-Solver++(2M), as deterministic, for fewer steps.
    """

    steps: int = 50
    order: int = 1
    problems = (InverseProblem, EditProblem)
    roles = ("source",)  # of an edit; it ignores this text as it ignores the picture

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_order(self.order)

    @torch.no_grad()
    def solve(
        self, problem: Problem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        moves = self.moves(prior.info, problem.signal_shape)
        z_t = first_latent(moves[0], noise, prior.empty_latent(problem.empty_signal()))
        last: Estimate | None = None
        for move in moves:
            at = policy.predict(prior, z_t, move.now, text)
            z_t = move(extrapolated(move, at, last))
            last = Estimate(move.now, at.z_0) if self.order == 2 else None
            on_step(StepInfo(move, self.steps, at.z_0, z_t))
        return Restoration(prior.decode(at.z_0))
