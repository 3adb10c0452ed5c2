"""Denoising diffusion null-space models: the range of A from the measurement, its null space from the prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_choices, check_integers
from treg_exp.noise import Noise
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.singular_parts import check_singular_parts, singular_parts
from treg_exp.operators.spectrum import Spectrum
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Move, Number, Prediction
from treg_exp.solvers.base import OnStep, Restoration, StepInfo, check_steps, first_latent, ignore
from treg_exp.solvers.renoising import ddim_share
from treg_exp.solvers.signal_space import SignalSolver, renoised_up
from treg_exp.tasks.problems import InverseProblem, Problem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState

Plus = Literal["auto", "always", "never"]
NoiseEstimate = Literal["network", "consistent"]


@dataclass(frozen=True)
class DDNM(SignalSolver):
    """DDNM and DDNM+ (Wang, Yu and Zhang, ICLR 2023, 2212.00490).

    At every level the estimate is rectified, x_0' = x_0 + Sigma A^+ (y - A x_0), and x goes on from there,

        x_next = alpha x_0' + sigma (sqrt(1 - eta^2) e + Phi^(1/2) n).

    Without noise Sigma = I and Phi = eta^2 I: what A sees is the measurement's, the null space is the prior's. DDNM+
    takes so much of a noisy measurement in each singular direction s that its noise stays below the fresh one that it
    stands for: with c the weight of x_0' in x_next,

        lambda = min(1, eta sigma s / (c sigma_y)),   phi = eta^2 sigma^2 - (c lambda sigma_y / s)^2.

    Attributes:
        steps: noise levels.
        eta: share of fresh noise, in [0, 1]; None takes that of DDPM's posterior (the paper's algorithm).
        noise_estimate: e is the ``network``'s (official code), or what is left of x_t beside x_0', ``consistent`` with
            it (the paper's posterior).
        plus: DDNM+: ``auto`` where the measurement has noise, ``always``, or ``never``, which takes y as exact.
        travel_length: l; time travel goes back over so many steps.
        travel_repeats: times that every l steps are taken; 1 is no time travel.
    """

    steps: int = 100
    eta: float | None = 0.85
    noise_estimate: NoiseEstimate = "network"
    plus: Plus = "auto"
    travel_length: int = 1
    travel_repeats: int = 1
    needs_linear = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        if self.eta is not None and not 0 <= self.eta <= 1:
            raise FieldError("eta", self.eta, "must be in [0, 1], or null for DDPM's")
        check_choices(self, noise_estimate=NoiseEstimate, plus=Plus)
        check_integers(self, 1, "travel_length", "travel_repeats")

    def check(self, problem: Problem, info: PriorInfo) -> None:
        """See :class:`Solver`; DDNM+ needs singular values."""
        super().check(problem, info)
        assert isinstance(problem, InverseProblem)
        if self.with_noise(problem):
            check_singular_parts(problem.operator, "DDNM+", "plus=never takes y as free of noise")
            if self.eta == 0:
                why = (
                    "without noise of its own DDNM+ has no room for that of y, and would not use y; > 0, or plus=never"
                )
                raise FieldError("eta", self.eta, why)

    def with_noise(self, problem: InverseProblem) -> bool:
        """Whether it is DDNM+."""
        return self.plus == "always" or (self.plus == "auto" and problem.sigma > 0 and problem.measured)

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        moves = self.moves(prior.info, problem.signal_shape)
        x_t = first_latent(moves[0], noise, prior.empty_latent(problem.empty_signal()))
        parts = singular_parts(problem.operator) if self.with_noise(problem) else None
        for begin in range(0, len(moves), self.travel_length):
            part = moves[begin : begin + self.travel_length]
            for turn in range(self.travel_repeats):
                if turn:  # time travel: back to where this part of the run began
                    fresh = noise.normal("travel", begin, turn, like=x_t)
                    x_t = renoised_up(x_t, part[-1].next, part[0].now, fresh)
                for move in part:
                    text = policy.prepare(prior, x_t, move.now, text, problem.misfit)
                    at = policy.predict(prior, x_t, move.now, text)
                    fresh = noise.normal("ddim", move.index, turn, like=x_t)
                    x_y, x_next = self.step(problem, parts, move, x_t, at, fresh)
                    text = policy.update(prior, text, StepState(x_t, move.now, at, x_y, problem.misfit))
                    x_t = x_next
                    if turn == self.travel_repeats - 1:
                        on_step(StepInfo(move, self.steps, x_y, x_t))
        return Restoration(x_t)

    def step(
        self, problem: InverseProblem, parts: Spectrum | None, move: Move, x_t: Tensor, at: Prediction, fresh: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The rectified estimate, and x at the next level; ``parts`` are given for DDNM+."""
        share = ddim_share(move, 1.0) if self.eta is None else self.eta
        if parts is None:
            operator = problem.operator
            assert isinstance(operator, LinearOperator), "check() refuses others"
            x_y = operator.prox(problem.y, at.z_0, 0.0)
            return x_y, move(Prediction(x_y, self.left(move, x_t, at, x_y)), share, fresh)
        kept = (1 - share**2) ** 0.5
        own: Number = share * move.next.sigma  # deviation of the fresh noise
        weight: Number = move.next.alpha
        if self.noise_estimate == "consistent":
            weight = weight - move.next.sigma * kept * move.now.alpha / move.now.sigma
        seen = parts.values > 0
        told = torch.where(seen, weight * problem.sigma / torch.where(seen, parts.values, 1.0), 0.0)  # noise of c v_y
        lam = torch.where(told > own, own / told.clamp(min=1e-12), seen.to(told))
        v_0 = parts.turn(at.z_0)
        v_y = torch.where(seen, 1.0, 0.0) * (parts.seen(problem.y) - v_0)
        x_y = parts.turn_back(v_0 + lam * v_y)
        phi = (own**2 - (lam * told) ** 2).clamp(min=0)
        noise = parts.turn_back(phi.sqrt() * parts.turn(fresh))
        e = self.left(move, x_t, at, x_y)
        return x_y, move.next.alpha * x_y + move.next.sigma * kept * e + noise

    def left(self, move: Move, x_t: Tensor, at: Prediction, x_y: Tensor) -> Tensor:
        """The noise e that x goes on with."""
        return at.eps if self.noise_estimate == "network" else move.now.noise_in(x_t, x_y)
