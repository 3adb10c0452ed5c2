"""ProjDiff: the evidence bound of a diffusion model, minimised on the set of signals that explain the measurement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_choices, check_integers, check_positive
from treg_exp.noise import Noise
from treg_exp.operators.methods import EXACT, Exact, ProxMethod
from treg_exp.operators.spectrum import has_spectrum
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Move
from treg_exp.solvers.base import OnStep, Restoration, Solver, StepInfo, check_steps, ignore
from treg_exp.solvers.projdiff_companion import Projection, has_projection, is_uniform, spectral, uniform
from treg_exp.tasks.problems import InverseProblem, Problem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState

Form = Literal["auto", "exact", "uniform", "spectral"]


@dataclass(frozen=True)
class ProjDiff(Solver):
    """Projected diffusion (Zhang et al., NeurIPS 2024, 2406.06959).

    ``exact``, for measurements without noise, has one variable: x_t = alpha x_0 + sigma e with fresh e; v <- beta v +
    (1 - beta) (D(x_t) - x_0); x_0 <- P(x_0 + step v), P the projection onto A x = y. With noise there is a second
    one, a signal x_obs as noisy as the measurement, for which it holds exactly: alpha_bar_obs = 1 / (1 + (sigma / s)^2)
    with s a singular value of A. ``uniform`` has one such level for all of the signal (masks, averages, phase retrieval
    and high dynamic range), ``spectral`` one for each singular direction. Until that level x_t grows out of x_obs;
    below it, x_0 descends as above.

    The paper works on signals. On a prior of latents this is an extension of ours: one variable, E(P(D(z_0 + step v))),
    with the proximal step of the measurement for P, which is the projection where there is no noise.

    Attributes:
        steps: noise levels.
        form: ``auto`` is ``exact`` without noise, else ``uniform`` where one level will do, else ``spectral``.
        repeats: turns per level N.
        step_size: of the descent, > 0; with noise only below the level of x_obs, as in the official code.
        momentum: beta of the exact form, in [0, 1); the noisy ones have none.
        latent: allow a prior of latents, with the extension.
        lam: ridge of its proximal step; None takes the measurement's.
        projection: how signals are moved to measurements of phase retrieval and high dynamic range.
        prox: how projections of other than two-variable forms are computed. ``Exact()`` is ``projection`` where that
            knows the operator, on a prior of signals.
    """

    steps: int = 100
    form: Form = "auto"
    repeats: int = 1
    step_size: float = 0.5
    momentum: float = 0.0
    latent: bool = False
    lam: float | None = None
    projection: Projection = field(default_factory=Projection)
    prox: ProxMethod = EXACT
    needs_gradient = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_choices(self, form=Form)
        check_integers(self, 1, "repeats")
        check_positive(self, "step_size")
        if not 0 <= self.momentum < 1:
            raise FieldError("momentum", self.momentum, "must be in [0, 1)")
        if self.lam is not None and not self.lam >= 0:
            raise FieldError("lam", self.lam, "must be >= 0, or null for the measurement's")

    def check(self, problem: Problem, info: PriorInfo) -> None:
        """See :class:`Solver`; the two-variable forms need signals and singular values."""
        super().check(problem, info)
        assert isinstance(problem, InverseProblem)
        if info.factor != 1 and not self.latent:
            raise FieldError(
                "latent", False, "the prior is one of latents, and the paper works on signals; latent=true"
            )
        if info.factor != 1:
            if self.form not in ("auto", "exact"):
                raise FieldError("form", self.form, "the extension to latents has one form; take auto")
        elif (form := self.form_for(problem)) != "exact" and self.momentum:
            raise FieldError("momentum", self.momentum, f"belongs to the exact form, and this problem takes {form}; 0")

    def form_for(self, problem: InverseProblem) -> str:
        """The form that is used on a prior of signals.

        Raises:
            FieldError: the operator has not the singular values that it takes.
        """
        operator = problem.operator
        known = {"exact": True, "uniform": is_uniform(operator), "spectral": has_spectrum(operator)}
        form = self.form
        if form == "auto":
            noisy = problem.sigma > 0 and problem.measured
            several_levels = known["spectral"] and not known["uniform"]
            form = "exact" if not noisy else "spectral" if several_levels else "uniform"
        if not known[form]:
            why = "needs its singular values, which are not known"
            if not operator.linear:
                why = "takes no non-linear operators but PhaseRetrieval and HighDynamicRange (uniform)"
            raise FieldError(
                "operator", type(operator).__name__, f"ProjDiff's form {form} {why}; form=exact projects as if there "
                "were no noise"
            )  # fmt: skip
        return form

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        moves = self.moves(prior.info, problem.signal_shape)
        z = noise.normal("start", like=prior.empty_latent(problem.empty_signal()))
        first = moves[0].now
        z_0 = policy.predict(prior, first.sigma * z, first, text).z_0
        run = _Run(self, problem, prior, policy, noise, on_step, moves)
        if prior.info.factor != 1 or self.form_for(problem) == "exact":
            return Restoration(prior.decode(run.one_variable(z_0, text)))
        return Restoration(run.two_variables(z_0, text, self.form_for(problem)))


def _shares(level: Level) -> tuple[float, float]:
    """Alpha_bar of a level, and what a variance-preserving latent is multiplied by to be on it."""
    alpha, sigma = float(level.alpha), float(level.sigma)
    return float(level.signal_share), (alpha**2 + sigma**2) ** 0.5


@dataclass(frozen=True)
class _Run:
    """One batch on its way."""

    solver: ProjDiff
    problem: InverseProblem
    prior: Prior
    policy: TextPolicy
    noise: Noise
    on_step: OnStep
    moves: list[Move]

    def one_variable(self, z_0: Tensor, text: TextCondition) -> Tensor:
        """The exact form, and the extension to latents."""
        solver, speed = self.solver, None
        for move in self.moves:
            for turn in range(solver.repeats):
                z_t = move.now.noisy(z_0, self.noise.normal("x_t", move.index, turn, like=z_0))
                text = self.policy.prepare(self.prior, z_t, move.now, text, self.problem.misfit)
                at = self.policy.predict(self.prior, z_t, move.now, text)
                pull = at.z_0 - z_0
                speed = pull if speed is None else solver.momentum * speed + (1 - solver.momentum) * pull
                x = self.projected(self.prior.decode(z_0 + solver.step_size * speed))
                z_0 = self.prior.encode(x)
                text = self.policy.update(self.prior, text, StepState(z_t, move.now, at, x, self.problem.misfit))
            self.on_step(StepInfo(move, solver.steps, z_0, z_0))
        return z_0

    def projected(self, x: Tensor) -> Tensor:
        """The projection of signals, or the proximal step of the extension."""
        lam = 0.0
        if self.prior.info.factor != 1:
            lam = self.problem.ridge(self.solver.lam)
        elif has_projection(self.problem.operator) and isinstance(self.solver.prox, Exact):
            return self.solver.projection.onto(self.problem, x)
        return self.problem.operator.prox(self.problem.y, x, lam, self.solver.prox)

    def two_variables(self, x_0: Tensor, text: TextCondition, form: str) -> Tensor:
        """The noisy forms; ``v_`` are the coordinates of a signal along the singular directions."""
        aim = spectral(self.problem) if form == "spectral" else uniform(self.problem, self.solver.projection)
        a_obs, v_0, solver = aim.share, aim.turn(x_0), self.solver
        own = (1 - a_obs).sqrt()
        v_obs = a_obs.sqrt() * v_0 + own * self.noise.normal("start x_obs", like=v_0)
        for move in self.moves:
            a_t, unit = _shares(move.now)
            early = a_obs >= a_t
            for turn in range(solver.repeats):
                ratio = (a_t / a_obs).clamp(max=1)
                rest = torch.where(own > 0, (v_obs - a_obs.sqrt() * v_0) / own.clamp(min=1e-12), 0.0)
                v_t = a_t**0.5 * v_0 + (1 - a_t) ** 0.5 * rest  # the line of DDIM through x_0 and x_obs
                if bool(early.any()):
                    fresh = self.noise.normal("x_t", move.index, turn, like=v_0)
                    v_t = torch.where(early, ratio.sqrt() * v_obs + (1 - ratio).sqrt() * fresh, v_t)
                x_t = unit * aim.turn_back(v_t)
                text = self.policy.prepare(self.prior, x_t, move.now, text, self.problem.misfit)
                at = self.policy.predict(self.prior, x_t, move.now, text)
                v_new = aim.turn(at.z_0)
                v_0 = torch.where(early, v_new, v_0 + solver.step_size * (v_new - v_0))
                if bool(early.any()):
                    fresh = self.noise.normal("x_obs", move.index, turn, like=v_0)
                    v_obs = torch.where(early, a_obs.sqrt() * v_new + own * fresh, v_obs)
                if form == "spectral" or bool(early.any()):
                    v_obs = aim.project(v_obs)
                x_0 = aim.turn_back(v_0)
                text = self.policy.update(self.prior, text, StepState(x_t, move.now, at, x_0, self.problem.misfit))
            self.on_step(StepInfo(move, solver.steps, x_0, x_t))
        return x_0
