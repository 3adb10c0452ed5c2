"""ReSample: hard consistency by inner optimisation now and then, and a resampling back to the noise level."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from treg_exp.field_checks import check_at_least, check_choices, check_shares
from treg_exp.noise import Noise
from treg_exp.numerics.adamw import AdamW
from treg_exp.numerics.leaf import leaf_gradient, norms, squares
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Move, Number, Prediction
from treg_exp.solvers.base import OnStep, Restoration, Solver, StepInfo, check_steps, first_latent, ignore
from treg_exp.solvers.recomputing import recomputing
from treg_exp.solvers.renoising import ddim, ddim_share, resampled
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState

Variance = Literal["code", "paper"]
Estimate = Literal["tweedie", "pseudo"]


def pixel_adam() -> AdamW:
    """Of signals (official code)."""
    return AdamW(lr=1e-2, iterations=2000)


def latent_adam() -> AdamW:
    """Of latents (official code)."""
    return AdamW(lr=5e-3, iterations=500, plateau=200)


@dataclass(frozen=True)
class ReSample(Solver):
    """ReSample (Song et al., ICLR 2024, 2307.08123).

    Every step is DDIM and a DPS step. After the first part of the run, every so many steps: a few plain DDIM steps
    ahead give a better estimate; the signal (early) or the latent (late) is optimised until it fits y; and the kept
    latent is resampled around it. At the end the latent is optimised once more. i counts steps down,
    to 0.

    Attributes:
        steps: sampling steps N.
        eta: DDIM's share of fresh noise, in [0, 1].
        gamma: of the variance of the resampling, >= 0; large values trust the optimised estimate.
        variance: its denominator: gamma (1 - ab_prev) / d (1 - ab / ab_prev) with d = 1 - ab (official ``code``) or ab
            (``paper``), which trusts the estimate early and the latent late.
        dps_scale: the DPS step is dps_scale ab grad ||y - A D(z_0)||.
        estimate: what DPS and the optimisation begin with: ``tweedie``'s estimate, or the official code's ``pseudo``
            one, (z_t - (1 - ab) eps) / sqrt(ab), in which noise is left.
        every: period of consistency steps, i % every == 0.
        free: first part of the run that has none, of the steps.
        latent_stage: last part of the run, whose consistency steps optimise the latent, not the signal.
        travel: DDIM steps ahead.
        travel_shift: they use the levels one step too early for all but the timestep (official code).
        pixel: optimiser of signals. Its ``stop`` is the mean squared residual over all of y at which a sample has
            enough (official: 1e-6); without one that is the noise, sigma^2 over what is measured.
        latent: optimiser of latents, likewise.
        least_stop: where the noise is less than this mean square (or there is none), it is enough (official: 1e-6).
        checkpoint: compute again instead of keeping what the gradient needs.
    """

    steps: int = 500
    eta: float = 0.0
    gamma: float = 40.0
    variance: Variance = "code"
    dps_scale: float = 0.5
    estimate: Estimate = "tweedie"
    every: int = 10
    free: float = 1 / 3
    latent_stage: float = 1 / 3
    travel: int = 5
    travel_shift: bool = False
    pixel: AdamW = field(default_factory=pixel_adam)
    latent: AdamW = field(default_factory=latent_adam)
    least_stop: float = 1e-6
    checkpoint: bool = False
    needs_gradient = True
    tells_next = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_choices(self, variance=Variance, estimate=Estimate)
        check_shares(self, "eta", "free", "latent_stage")
        check_at_least(self, 0, "gamma", "dps_scale", "least_stop")
        check_at_least(self, 1, "every")
        check_at_least(self, 0, "travel")

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        moves = self.moves(prior.info, problem.signal_shape)
        z_t = first_latent(moves[0], noise, prior.empty_latent(problem.empty_signal()))
        network = recomputing(prior) if self.checkpoint else prior
        for move in moves:
            text = policy.prepare(network, z_t, move.now, text, problem.misfit)
            told, left = text, self.steps - 1 - move.index

            def loss(z: Tensor) -> tuple[Tensor, Prediction]:
                at = policy.predict(network, z, move.now, told)  # noqa: B023 - called within this turn
                x = network.decode(self.estimated(move.now, at))  # noqa: B023
                return norms(problem.operator.residual(problem.y, x)), at.detach()

            gradient, _, at = leaf_gradient(loss, z_t)
            z = ddim(move, at, self.eta, noise) - self.dps_scale * move.now.signal_share * gradient
            if self.is_consistent(left) and problem.measured:
                ahead = self.travelled(moves[move.index : move.index + 1 + self.travel], z, prior, policy, text, noise)
                start = self.estimated(move.now, at) if ahead is None else ahead
                z_y, x_y = self.optimised(problem, network, start, left, policy.moves_text)
                fresh = noise.normal("resample", move.index, like=z)
                z = resampled(z, z_y, move.next, self.spread(move), fresh)
                if x_y is not None:
                    state = StepState(z_t, move.now, at, x_y, problem.misfit, z, move.next)
                    text = policy.update(prior, text, state)
            z_t = z
            on_step(StepInfo(move, self.steps, at.z_0, z_t))
        return Restoration(prior.decode(self.latent_optimised(problem, network, z_t) if problem.measured else z_t))

    def is_consistent(self, left: int) -> bool:
        """Whether step i = ``left`` optimises; the first part of the run and the last step do not."""
        return 0 < left <= self.steps - int(round(self.free * self.steps, 6)) and left % self.every == 0

    def estimated(self, level: Level, at: Prediction) -> Tensor:
        """The estimate of z_0 that is decoded."""
        if self.estimate == "tweedie":
            return at.z_0
        return at.z_0 + level.sigma * level.alpha / (1 + level.sigma) * at.eps  # (sigma - sigma^2) / alpha

    def travelled(
        self, moves: list[Move], z: Tensor, prior: Prior, policy: TextPolicy, text: TextCondition, noise: Noise
    ) -> Tensor | None:
        """The estimate after some DDIM steps from z; ``moves`` begins with the step that led to z."""
        found = None
        for inner, (before, move) in enumerate(pairwise(moves)):
            if self.travel_shift:
                move = Move(move.index, Level(move.now.t, before.now.alpha, before.now.sigma), before.next)
            at = policy.predict(prior, z, move.now, text)
            found = self.estimated(move.now, at)
            z = ddim(move, at, self.eta, noise, step=moves[0].index, inner=1 + inner)
        return found

    def optimised(
        self, problem: InverseProblem, prior: Prior, z: Tensor, left: int, decoded: bool
    ) -> tuple[Tensor, Tensor | None]:
        """A latent that explains y, and its signal where that is known or ``decoded`` asks for it."""
        if left < int(round(self.latent_stage * self.steps, 6)):
            z_y = self.latent_optimised(problem, prior, z)
            return z_y, prior.decode(z_y) if decoded else None
        limit = self.limit(problem)
        x = self.pixel.minimise(lambda x: self.mean_square(problem, x), prior.decode(z), limit)
        return prior.encode(x), x

    def latent_optimised(self, problem: InverseProblem, prior: Prior, z: Tensor) -> Tensor:
        """The latent stage, from z."""
        limit = self.limit(problem)
        count = problem.y[0].numel()  # a mean's gradient is too small for networks in half precision
        return self.latent.minimise(lambda z: self.mean_square(problem, prior.decode(z)), z, limit, scale=count)

    def mean_square(self, problem: InverseProblem, x: Tensor) -> Tensor:
        """Mean of (y - A x)^2 over all of y, (B,)."""
        return squares(problem.operator.residual(problem.y, x)) / problem.y[0].numel()

    def limit(self, problem: InverseProblem) -> Tensor:
        """Mean square that the noise alone has, or what is enough, (B,)."""
        share = problem.operator.measured().flatten(1).mean(1).expand(problem.batch_size)
        return (problem.sigma**2 * share).clamp(min=self.least_stop)

    def spread(self, move: Move) -> Number:
        """Variance of the resampling."""
        variance = self.gamma * (move.next.sigma * ddim_share(move, 1.0)) ** 2
        if self.variance == "code":
            return variance
        return variance * (move.now.sigma / move.now.alpha) ** 2
