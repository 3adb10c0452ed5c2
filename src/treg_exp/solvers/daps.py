"""Latent DAPS: decoupled annealing, an ordinary differential equation and a Markov chain per noise level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_choices, check_integers, check_positive
from treg_exp.noise import Noise
from treg_exp.numerics.leaf import leaf_gradient, squares
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Move, Prediction, check_moves
from treg_exp.schedule.ratios import Times, level_of_ratio
from treg_exp.solvers.base import OnStep, Restoration, Solver, StepInfo, check_steps, ignore
from treg_exp.solvers.recomputing import recomputing
from treg_exp.tasks.problems import InverseProblem, Problem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState

Algorithm = Literal["langevin", "hmc"]
MOST_STEPS = 100_000  # what is above is a slip


@dataclass(frozen=True)
class LatentDAPS(Solver):
    """Decoupled annealing posterior sampling (Zhang et al., CVPR 2025, 2407.01521), in latent space.

    In the variance-exploding scale z_s = z_0 + s eps, for falling s: an estimate z_0 by Euler steps of the
    probability-flow ODE; a chain from it with the score

        -clamp(grad_z ||A D(z) - y||^2, +-clamp) / tau^2 + (z_0 - z) / s^2;

    then fresh noise of the next s. The likelihood has no factor 1/2, as in the official code: its deviation is
    tau / sqrt(2). On a prior of pixels it is DAPS.

    Attributes:
        steps: noise levels of the annealing.
        sigma_max: first s; sigma / alpha of the latent.
        sigma_min: end of the grid, which is replaced by 0 and so never visited.
        rho: levels are evenly spaced in s^(1/rho).
        ode_steps: Euler steps per level, one evaluation each.
        ode_sigma_min: where they end.
        mcmc_steps: of the chain, per level; each takes a gradient through the decoder.
        algorithm: ``hmc`` or ``langevin``.
        lr: step size of the chain.
        lr_min_ratio: lr falls linearly towards this share of itself over the levels.
        momentum: of ``hmc``, in [0, 1).
        tau: assumed deviation of the measurement, times sqrt(2), in its units (official: .01 always); None takes
            sqrt(2) times the measurement's.
        clamp: largest entry of the gradient; None leaves it. It is what keeps the chain stable for small tau.
        times: how the network is told s, see ``level_of_ratio``.
        checkpoint: compute again instead of keeping what the gradient needs.
    """

    steps: int = 50
    sigma_max: float = 10.0
    sigma_min: float = 0.1
    rho: float = 7.0
    ode_steps: int = 2
    ode_sigma_min: float = 0.001
    mcmc_steps: int = 30
    algorithm: Algorithm = "hmc"
    lr: float = 1e-4
    lr_min_ratio: float = 1.0
    momentum: float = 0.45
    tau: float | None = 0.01
    clamp: float | None = 1.0
    times: Times = "table"
    checkpoint: bool = False
    needs_gradient = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        if self.steps > MOST_STEPS:
            raise FieldError("steps", self.steps, f"must be at most {MOST_STEPS}")
        check_choices(self, algorithm=Algorithm, times=Times)
        check_integers(self, 1, "ode_steps", "mcmc_steps")
        if not 0 < self.sigma_min < self.sigma_max:
            raise FieldError("sigma_min", self.sigma_min, f"must be in (0, sigma_max={self.sigma_max})")
        check_positive(self, "rho", "ode_sigma_min", "lr")
        if self.ode_sigma_min > self.sigma_min:
            raise FieldError("ode_sigma_min", self.ode_sigma_min, f"must be at most sigma_min={self.sigma_min}")
        for name in ("tau", "clamp"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise FieldError(name, getattr(self, name), "must be > 0, or null")
        if not 0 < self.lr_min_ratio <= 1:
            raise FieldError("lr_min_ratio", self.lr_min_ratio, "must be in (0, 1]")
        if not 0 <= self.momentum < 1:
            raise FieldError("momentum", self.momentum, "must be in [0, 1)")

    def check(self, problem: Problem, info: PriorInfo) -> None:
        """See :class:`Solver`; without noise the likelihood needs a deviation."""
        super().check(problem, info)
        if self.tau is None and isinstance(problem, InverseProblem) and not problem.sigma > 0:
            raise FieldError("tau", None, "takes the deviation of the noise, and there is none; give a value > 0")

    def moves(self, info: PriorInfo, signal_shape: tuple[int, ...]) -> list[Move]:
        """The annealing levels, whatever steps the prior's sampler would take."""
        info.latent_shape(signal_shape)
        levels = [level_of_ratio(info.schedule, s, self.times) for s in self.sigmas()]
        moves = [Move(k, now, following) for k, (now, following) in enumerate(pairwise(levels))]
        check_moves(moves, info.kind)
        return moves

    def sigmas(self) -> list[float]:
        """The ``steps`` levels of the annealing, and 0."""
        return [*self._grid(self.sigma_max, self.sigma_min, self.steps)[:-1], 0.0]

    def _grid(self, first: float, last: float, count: int) -> list[float]:
        """``count`` + 1 values from first to last."""
        high, low = first ** (1 / self.rho), last ** (1 / self.rho)
        return [(high + k / count * (low - high)) ** self.rho for k in range(count + 1)]

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        moves, sigmas = self.moves(prior.info, problem.signal_shape), self.sigmas()
        network = recomputing(prior) if self.checkpoint else prior
        z = sigmas[0] * noise.normal("start", like=prior.empty_latent(problem.empty_signal()))
        for move, now, following in zip(moves, sigmas, sigmas[1:], strict=False):
            z_t = move.now.alpha * z  # the same latent in the scale of the prior
            text = policy.prepare(network, z_t, move.now, text, problem.misfit)
            z_0 = self.flow(prior, policy, text, z, now)
            z_y = self.chain(problem, network, z_0, move.index, noise)
            if policy.moves_text:
                at = Prediction(z_0, move.now.noise_in(z_t, z_0))
                text = policy.update(prior, text, StepState(z_t, move.now, at, prior.decode(z_y), problem.misfit))
            z = z_y
            if following > 0:
                z = z + following * noise.normal("renoise", move.index, like=z)
            on_step(StepInfo(move, self.steps, z_0, move.next.alpha * z))
        return Restoration(prior.decode(z))

    def flow(self, prior: Prior, policy: TextPolicy, text: TextCondition, z: Tensor, sigma: float) -> Tensor:
        """The estimate of z_0 at the end of the probability-flow ODE from ``sigma``."""
        for s, following in pairwise(self._grid(sigma, self.ode_sigma_min, self.ode_steps)):
            level = self.level(prior.info, s)
            z = z + (following - s) / s * (z - policy.predict(prior, level.alpha * z, level, text).z_0)
        return z

    def level(self, info: PriorInfo, sigma: float) -> Level:
        """Of the prior's schedule, with this noise per signal."""
        return level_of_ratio(info.schedule, sigma, self.times)

    def chain(self, problem: InverseProblem, prior: Prior, z_0: Tensor, index: int, noise: Noise) -> Tensor:
        """A draw that also explains the measurement, (B, *latent_shape)."""
        sigma, lr = self.sigmas()[index], self.lr * (1 + index / (self.steps + 1) * (self.lr_min_ratio - 1))
        tau = math.sqrt(2) * problem.sigma if self.tau is None else self.tau

        def misfit(z: Tensor) -> tuple[Tensor, None]:
            return squares(problem.operator.residual(problem.y, prior.decode(z))), None

        z, hmc = z_0, self.algorithm == "hmc"
        velocity = noise.normal("velocity", index, like=z_0) if hmc else z_0
        for inner in range(self.mcmc_steps):
            gradient, _, _ = leaf_gradient(misfit, z)
            if self.clamp is not None:
                gradient = gradient.clamp(-self.clamp, self.clamp)
            score = (z_0 - z) / sigma**2 - gradient / tau**2
            fresh = noise.normal("mcmc", index, inner, like=z)
            if hmc:
                velocity = self.momentum * velocity + lr**0.5 * score + (2 * (1 - self.momentum)) ** 0.5 * fresh
                z = z + lr**0.5 * velocity
            else:
                z = z + lr * score + (2 * lr) ** 0.5 * fresh
        return z
