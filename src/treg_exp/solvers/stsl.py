"""STSL: latent sampling with a second-order correction of Tweedie's estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from treg_exp.field_checks import check_at_least, check_integers
from treg_exp.noise import Noise
from treg_exp.numerics.leaf import leaf_gradient, norms, squares
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.solvers.base import OnStep, Restoration, Solver, StepInfo, check_steps, ignore
from treg_exp.solvers.recomputing import recomputing
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState


@dataclass(frozen=True)
class STSL(Solver):
    """Second-order Tweedie sampler from a surrogate loss (Rout et al., CVPR 2024, 2312.00852).

    There is no official code: this is the formula. From noise added to E(preview of y), every DDIM step begins with
    some updates

        z <- z - grad_z [weight ||y - A D(z_0)||^p + correction / d eps^T (score(z + eps) - score(z))]

    with eps ~ N(0, I), d the numbers of a latent, and score = -eps_hat / sigma, which estimates the trace of the
    score's slope.

    Attributes:
        steps: sampling steps.
        inner: updates per step.
        weight: of the measurement (paper: about 1 / sigma^2; ours is less).
        squared: p = 2 (paper), else 1: an update is then as long whatever the residual.
        correction: eta, of the second-order term (paper: 0.02).
        text_every: period in steps of ``TextPolicy.update``, after which null text and prompt may move.
        checkpoint: compute again instead of keeping what the gradient needs.
    """

    steps: int = 50
    inner: int = 5
    weight: float = 0.2
    squared: bool = True
    correction: float = 0.02
    text_every: int = 1
    checkpoint: bool = False
    needs_gradient = True
    tells_next = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_integers(self, 1, "inner", "text_every")
        check_at_least(self, 0, "weight", "correction")

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        moves = self.moves(prior.info, problem.signal_shape)
        z_0 = prior.encode(problem.preview())
        z_t = moves[0].now.noisy(z_0, noise.normal("start", like=z_0))
        network = recomputing(prior) if self.checkpoint else prior
        for move in moves:
            text = policy.prepare(network, z_t, move.now, text, problem.misfit)
            for inner in range(self.inner):
                probe = noise.normal("probe", move.index, inner, like=z_t)
                gradient, at, x = self.gradient(problem, network, policy, text, z_t, move.now, probe)
                z_t = z_t - gradient
            at = policy.predict(prior, z_t, move.now, text)
            z_next = move(at)
            if move.index % self.text_every == 0 and policy.moves_text:
                state = StepState(z_t, move.now, at, x, problem.misfit, z_next, move.next)
                text = policy.update(prior, text, state)
            z_t = z_next
            on_step(StepInfo(move, self.steps, at.z_0, z_t))
        return Restoration(prior.decode(z_t))

    def gradient(
        self, problem: InverseProblem, prior: Prior, policy: TextPolicy, text: TextCondition, z_t: Tensor, level: Level,
        probe: Tensor,
    ) -> tuple[Tensor, Prediction, Tensor]:  # fmt: skip
        """Of the surrogate loss; and the estimate at z_t with its signal."""
        size = squares if self.squared else norms

        def loss(z: Tensor) -> tuple[Tensor, tuple[Prediction, Tensor]]:
            at = policy.predict(prior, z, level, text)
            x = prior.decode(at.z_0)
            value = self.weight * size(problem.operator.residual(problem.y, x))
            if self.correction:
                further = policy.predict(prior, z + probe, level, text).eps
                slope = (probe * (at.eps - further)).flatten(1).mean(1) / level.sigma
                value = value + self.correction * slope
            return value, (at.detach(), x.detach())

        gradient, _, (at, x) = leaf_gradient(loss, z_t, self.scale(problem, z_t, level))
        return gradient, at, x

    def scale(self, problem: InverseProblem, z_t: Tensor, level: Level) -> float:
        """What brings the gradient that enters the networks to about 1, where half precision holds it best.

        Per number it is weight (of a norm: over the root of their count) from the measurement and correction / (d
        sigma) from the other term. A power of 2, which changes no digit in float32.
        """
        told = self.weight / (1.0 if self.squared else max(1, problem.y[0].numel()) ** 0.5)
        largest = max(told, self.correction / (z_t[0].numel() * float(level.sigma)))
        return 2.0 ** -round(math.log2(largest)) if largest > 0 else 1.0
