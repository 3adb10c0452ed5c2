"""DiffPIR: plug-and-play half-quadratic splitting along the levels of a diffusion model."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_at_least, check_choices, check_positive, check_shares
from treg_exp.noise import Noise
from treg_exp.operators.methods import EXACT, ProxMethod
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Move, Prediction, check_moves
from treg_exp.schedule.variance_preserving import VariancePreserving
from treg_exp.solvers.base import OnStep, Restoration, StepInfo, check_steps, first_latent, ignore
from treg_exp.solvers.signal_space import SignalSolver, to_the_clean_end
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState

Grid = Literal["prior", "quadratic"]


@dataclass(frozen=True)
class DiffPIR(SignalSolver):
    """DiffPIR (Zhu et al., CVPR workshops 2023, 2305.08995).

        x_0' = argmin ||y - A x||^2 + rho ||x - x_0||^2,   rho = lam sigma_y^2 / (sigma / alpha)^2
        e'   = (x_t - alpha x_0') / sigma
        x_next = alpha' x_0' + sigma' (sqrt(1 - zeta) e' + sqrt(zeta) n)

    with x_0 the estimate at x_t. Without noise the first line is the projection onto A x = y.

    Attributes:
        steps: noise levels, one evaluation each.
        lam: weight of the prior in units of the noise, > 0.
        zeta: share of the fresh noise's variance, in [0, 1].
        grid: ``prior``: the levels that its own sampler visits; ``quadratic``: t = T sqrt(k / (steps - 1)), even in t^2
            and so denser at high noise (official).
        sigma_floor: least sigma_y that rho is computed with, in units of y; 0 projects where there is no noise.
        prox: how the first line is solved; non-linear operators take descent.
    """

    steps: int = 100
    lam: float = 1.0
    zeta: float = 0.25
    grid: Grid = "quadratic"
    sigma_floor: float = 0.0
    prox: ProxMethod = EXACT
    needs_gradient = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_positive(self, "lam")
        check_shares(self, "zeta")
        check_choices(self, grid=Grid)
        check_at_least(self, 0, "sigma_floor")

    def moves(self, info: PriorInfo, signal_shape: tuple[int, ...]) -> list[Move]:
        """The levels of the grid; schedules without a table of timesteps have a spacing of their own."""
        if self.grid == "prior" or not isinstance(info.schedule, VariancePreserving):
            return super().moves(info, signal_shape)
        info.latent_shape(signal_shape)
        train, last = len(info.schedule.alphas_cumprod), max(1, self.steps - 1)
        times = [min(train - 1, int(train * (k / last) ** 0.5)) for k in range(last, last - self.steps, -1)]
        if len(set(times)) < len(times):  # so many steps that high levels would be visited twice
            raise FieldError(
                "steps", self.steps, f"too many for {train} timesteps with grid=quadratic; take grid=prior"
            )
        levels = [info.schedule.level(t) for t in [*times, -1]]
        moves = [Move(k, now, following) for k, (now, following) in enumerate(pairwise(levels))]
        check_moves(moves, info.kind)
        return to_the_clean_end(moves)

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        moves = self.moves(prior.info, problem.signal_shape)
        x_t = first_latent(moves[0], noise, prior.empty_latent(problem.empty_signal()))
        for move in moves:
            text = policy.prepare(prior, x_t, move.now, text, problem.misfit)
            at = policy.predict(prior, x_t, move.now, text)
            x_y = problem.operator.prox(problem.y, at.z_0, self.rho(problem, move.now), self.prox)
            text = policy.update(prior, text, StepState(x_t, move.now, at, x_y, problem.misfit))
            fresh = noise.normal("ddim", move.index, like=x_t) if self.zeta else None
            x_t = move(Prediction(x_y, move.now.noise_in(x_t, x_y)), self.zeta**0.5, fresh)
            on_step(StepInfo(move, self.steps, x_y, x_t))
        return Restoration(x_t)

    def rho(self, problem: InverseProblem, level: Level) -> float:
        """The weight of staying close to the estimate: the noisier the level, the less it is worth."""
        ratio = float(level.alpha) / float(level.sigma)
        return self.lam * (max(problem.sigma, self.sigma_floor) * ratio) ** 2
