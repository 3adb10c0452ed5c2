"""LATINO: a few steps of a distilled prior, each with a proximal step in signal space and no gradients at all."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_at_least, check_choices, check_positive
from treg_exp.noise import Noise
from treg_exp.numerics.leaf import norms
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.methods import CG, ProxMethod
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Move
from treg_exp.schedule.variance_preserving import Spacing, VariancePreserving
from treg_exp.solvers.base import OnStep, Restoration, Solver, StepInfo, check_steps, ignore
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState

Unit = Literal["residual", "residual_per_sigma", "one"]
Start = Literal["adjoint", "preview"]
From = Literal["measurement", "result"]
LEAST = 1e-12  # of gamma: where the estimate fits exactly, nothing pulls it any more


@dataclass(frozen=True)
class Delta:
    """How far a step trusts the measurement: delta, by the timestep and by how well the estimate fits.

    Attributes:
        early: its value at timesteps above ``switch``, in units of ``unit``.
        late: its value at the others.
        switch: timestep, of 1000; schedules without timesteps are always late.
        unit: ``residual`` ||y - A x||, ``residual_per_sigma`` the same over sigma, or ``one``.
    """

    early: float = 0.02
    late: float = 0.002
    switch: float = 300
    unit: Unit = "residual_per_sigma"

    def __post_init__(self) -> None:
        check_positive(self, "early", "late")
        check_choices(self, unit=Unit)

    def at(self, t: float, residual: Tensor, sigma: float) -> Tensor:
        """Delta for a timestep and norms of residuals (B,): (B,)."""
        value = self.early if t > self.switch else self.late
        if self.unit == "one":
            return torch.full_like(residual, value)
        return value * residual / (sigma if self.unit == "residual_per_sigma" else 1.0)


@dataclass(frozen=True)
class Latino(Solver):
    """LATINO (Spagnoletti et al., ICCV 2025, 2503.12615), for priors distilled to a few steps.

        x = clip(D(z_0));  x_y = clip(argmin_x gamma / 2 ||A x - y||^2 + 1/2 ||x - previous x||^2),
        gamma = delta (1 - alpha_bar) / sigma^2;  z_y = E(x_y);  a step of the consistency sampler from z_y.

    Attributes:
        steps: sampling steps (SDXL and Stable Diffusion 1.5 with the LCM LoRA: 8, or 4).
        delta: trust in the measurement.
        prox: how the proximal step is solved (released: deepinv's conjugate gradients, 50 iterations, relative 1e-4).
        start: what is encoded and noised at the start: ``adjoint`` A^T y (released), or the ``preview`` of y, which is
            the pseudo-inverse of a linear operator.
        spacing: which timesteps of a table are visited; None those of the prior. Other schedules have one spacing.
        timestep_scaling: of the boundary of a consistency model, z = c_out z_y + c_skip z_t with c_skip =
            d^2 / ((scaling t)^2 + d^2); 0 leaves the boundary out. Only of tables.
        sigma_data: d.
        residual_noise: fresh noise that enters the residual of ``delta``, in units of sigma (released: 0.5, because its
            operators add noise in units of [0, 1]).
        rounds: shorter runs before, in which the texts move, and after which they stay: LATINO-PRO has 15 and
            prompt_rule=prompt_ascent. They are not reported as steps. 0: texts move in the run itself.
        round_steps: sampling steps of such a run.
        rounds_from: where every run but the first begins: with the ``measurement`` as the first one does, or with the
            ``result`` of the run before (released).
    """

    steps: int = 8
    delta: Delta = field(default_factory=Delta)
    prox: ProxMethod = field(default_factory=lambda: CG(50, 1e-4, relative=True))
    start: Start = "adjoint"
    spacing: Spacing | None = "lcm"
    timestep_scaling: float = 10.0
    sigma_data: float = 0.5
    residual_noise: float = 0.0
    rounds: int = 0
    round_steps: int = 4
    rounds_from: From = "measurement"
    needs_gradient = True
    tells_next = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_choices(self, start=Start, rounds_from=From)
        if self.spacing is not None and self.spacing not in get_args(Spacing):
            raise FieldError("spacing", self.spacing, f"allowed are {', '.join(get_args(Spacing))}, or null")
        check_at_least(self, 0, "timestep_scaling", "residual_noise", "rounds")
        check_at_least(self, 1, "round_steps")
        check_positive(self, "sigma_data")
        if self.rounds_from == "result" and not self.rounds:
            raise FieldError("rounds_from", self.rounds_from, "without rounds there is no result before; set rounds")
        object.__setattr__(self, "needs_linear", self.start == "adjoint")

    def check_policy(self, policy: TextPolicy) -> None:
        """See :class:`Solver`; rounds are for texts that move."""
        super().check_policy(policy)
        if self.rounds and not policy.moves_text:
            raise FieldError(
                "rounds", self.rounds, "move texts, and no rule moves one; take prompt_rule=prompt_ascent, or rounds=0"
            )

    def moves(self, info: PriorInfo, signal_shape: tuple[int, ...]) -> list[Move]:
        """See :class:`Solver`; with the spacing of a distilled prior where its schedule is a table."""
        if self.spacing is None or not isinstance(info.schedule, VariancePreserving):
            return super().moves(info, signal_shape)
        return super().moves(replace(info, schedule=replace(info.schedule, spacing=self.spacing)), signal_shape)

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        z = start = self.measured(problem, prior)
        for turn in range(self.rounds if policy.moves_text else 0):
            moves = replace(self, steps=self.round_steps).moves(prior.info, problem.signal_shape)
            z, text = self.sampled(moves, problem, text, prior, policy, noise, ignore, turn, z)
            z = z if self.rounds_from == "result" else start
        moves = self.moves(prior.info, problem.signal_shape)
        z, _ = self.sampled(moves, problem, text, prior, policy, noise, on_step, None, z)
        return Restoration(prior.decode(z))

    def sampled(
        self, moves: list[Move], problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy,
        noise: Noise, on_step: OnStep, turn: int | None, z: Tensor,
    ) -> tuple[Tensor, TextCondition]:  # fmt: skip
        """One run from the clean latent ``z``, and its text: that of a round ``turn``, or the last one (None)."""
        inner = 0 if turn is None else 1 + turn  # of the random streams
        z_t = moves[0].now.noisy(z, noise.normal("start", 0, inner, like=z))
        for move in moves:
            text = policy.prepare(prior, z_t, move.now, text, problem.misfit)
            at = policy.predict(prior, z_t, move.now, text)
            x_y = self.consistent(problem, prior.decode(at.z_0).clamp(-1, 1), move, noise, inner)
            z = self.bounded(prior.info, move, z_t, prior.encode(x_y))
            if move is not moves[-1]:
                z = move.next.noisy(z, noise.normal("renoise", move.index, inner, like=z))
            if turn is not None or not self.rounds:
                last = None if move is moves[-1] else z
                state = StepState(z_t, move.now, at, x_y, problem.misfit, last, move.next, turn or 0)
                text = policy.update(prior, text, state)
            z_t = z
            on_step(StepInfo(move, len(moves), at.z_0, z_t))
        return z_t, text

    def measured(self, problem: InverseProblem, prior: Prior) -> Tensor:
        """What the measurement shows by itself, encoded."""
        if self.start == "preview":
            x = problem.preview()
        else:
            assert isinstance(problem.operator, LinearOperator), "check() refuses others"
            x = problem.operator.adjoint(problem.y)
        return prior.encode(x.clamp(-1, 1))

    def consistent(self, problem: InverseProblem, x: Tensor, move: Move, noise: Noise, inner: int) -> Tensor:
        """The proximal step from x, within [-1, 1]."""
        operator, y = problem.operator, problem.y
        if not problem.sigma > 0:
            return operator.prox(y, x, 0.0, self.prox).clamp(-1, 1)
        residual = operator.residual(y, x)
        if self.residual_noise:
            fresh = noise.normal("residual", move.index, inner, like=y)
            residual = residual - self.residual_noise * problem.sigma * fresh
        delta = self.delta.at(float(move.now.t), norms(residual), problem.sigma)
        gamma = delta * float(1 - move.now.signal_share) / problem.sigma**2
        return operator.prox(y, x, 1 / gamma.clamp(min=LEAST), self.prox).clamp(-1, 1)

    def bounded(self, info: PriorInfo, move: Move, z_t: Tensor, z_y: Tensor) -> Tensor:
        """The consistency model's boundary: at t = 0 it gives back what it is given."""
        if not self.timestep_scaling or not isinstance(info.schedule, VariancePreserving):
            return z_y
        scaled, d = self.timestep_scaling * float(move.now.t), self.sigma_data
        total = scaled**2 + d**2
        skip, out = d**2 / total, scaled / math.sqrt(total)
        return out * z_y + skip * z_t
