"""Diffusion posterior sampling: an ancestral step of the prior, and a gradient step on the measurement through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from treg_exp.field_checks import check_at_least, check_choices, check_shares
from treg_exp.noise import Noise
from treg_exp.numerics.leaf import leaf_gradient, norms, squares
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Prediction
from treg_exp.solvers.base import OnStep, Restoration, StepInfo, check_steps, first_latent, ignore
from treg_exp.solvers.recomputing import recomputing
from treg_exp.solvers.renoising import ddim
from treg_exp.solvers.signal_space import SignalSolver
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState

Likelihood = Literal["norm", "square"]


@dataclass(frozen=True)
class DPS(SignalSolver):
    """DPS (Chung et al., ICLR 2023, 2209.14687).

        x_{t-1} = DDPM(x_t) - zeta grad_{x_t} ||y - A x_0(x_t)||

    with x_0 the estimate at x_t and the gradient through the network. Any operator with a gradient will do. The norm is
    not squared (official code; the paper divides the gradient of the square by the norm, which is twice as much).
    ``solver=ldps`` is the same through a decoder, with DDIM's step.

    Attributes:
        steps: sampling steps.
        zeta: step size, in units of the signal.
        likelihood: ``norm``, or ``square`` for the gradient of ||y - A x_0||^2 with the fixed step zeta.
        eta: share of fresh noise: 1 is the ancestral step of DDPM (paper), 0 DDIM.
        text_every: period in steps of ``TextPolicy.update``, after which null text and prompt may move.
        checkpoint: compute again instead of keeping what the gradient needs: less memory, a forward pass more.
    """

    steps: int = 999
    zeta: float = 0.3
    likelihood: Likelihood = "norm"
    eta: float = 1.0
    text_every: int = 1
    checkpoint: bool = False
    needs_gradient = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_choices(self, likelihood=Likelihood)
        check_at_least(self, 0, "zeta")
        check_shares(self, "eta")
        check_at_least(self, 1, "text_every")

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        moves = self.moves(prior.info, problem.signal_shape)
        x_t = first_latent(moves[0], noise, prior.empty_latent(problem.empty_signal()))
        network = recomputing(prior) if self.checkpoint else prior
        for move in moves:
            text = policy.prepare(prior, x_t, move.now, text, problem.misfit)
            told = text

            def loss(x: Tensor) -> tuple[Tensor, Prediction]:
                at = policy.predict(network, x, move.now, told)  # noqa: B023 - called within this turn
                residual = problem.operator.residual(problem.y, at.z_0)
                return self.zeta * (norms if self.likelihood == "norm" else squares)(residual), at.detach()

            gradient, _, at = leaf_gradient(loss, x_t)
            if move.index % self.text_every == 0:
                text = policy.update(prior, text, StepState(x_t, move.now, at, at.z_0, problem.misfit))
            if prior.text is None:  # DDPM's mean has the noise between x_t and a clipped estimate; CFG++ says its own
                at = Prediction(at.z_0, move.now.noise_in(x_t, at.z_0))
            x_t = ddim(move, at, self.eta, noise) - gradient
            on_step(StepInfo(move, self.steps, at.z_0, x_t))
        return Restoration(x_t)
