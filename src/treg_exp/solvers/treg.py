"""TReg: regularisation by texts for latent diffusion inverse solvers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_at_least, check_choices
from treg_exp.noise import Noise
from treg_exp.operators.methods import Exact, ProxMethod
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Move, Number, Prediction
from treg_exp.schedule.second_order import Estimate, check_order, extrapolated
from treg_exp.schedule.variance_preserving import VariancePreserving
from treg_exp.solvers.base import (
    BEFORE_PROJECTION,
    OnStep,
    Restoration,
    Solver,
    StepInfo,
    check_steps,
    first_latent,
    ignore,
)
from treg_exp.solvers.last_projection import LastProjection, check_last
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState

Encoder = Literal["mean", "sample"]
Blend = Literal["alpha_bar_prev", "data_only"]
Renoise = Literal["stochastic", "ddim"]
OffWindow = Literal["ddim", "dps"]


@dataclass(frozen=True)
class DataSteps:
    """The set Gamma of steps k that look at the measurement.

    Attributes:
        every: period in steps; steps with k % every == 0 (released code: 3).
        start: first step, as a fraction of the run in [0, 1].
        stop: end (exclusive), as a fraction of the run in [0, 1].
        stop_index: a further end (exclusive) as an absolute step index whatever the number of steps, or None (released
            code: 170, of 200 steps).
    """

    every: int = 3
    start: float = 0.0
    stop: float = 1.0
    stop_index: int | None = None

    def __post_init__(self) -> None:
        check_at_least(self, 1, "every")
        if not 0 <= self.start <= self.stop <= 1:
            raise FieldError("start", self.start, f"must be a fraction with 0 <= start <= stop={self.stop} <= 1")
        if self.stop_index is not None and self.stop_index < 0:
            raise FieldError("stop_index", self.stop_index, "must be >= 0 or null")

    def contains(self, index: int, steps: int) -> bool:
        """Whether step ``index`` of ``steps`` is in Gamma."""
        start, stop = (round(fraction * steps, 6) for fraction in (self.start, self.stop))  # 0.28 * 50 is above 14
        end = stop if self.stop_index is None else min(stop, self.stop_index)
        return index % self.every == 0 and start <= index < end


@dataclass(frozen=True)
class TReg(Solver):
    """Regularization by Texts (Kim, Park, Chung, Ye, arXiv 2311.15658).

    On data steps the Tweedie estimate is decoded, moved to the measurement by a proximal step in image space,
    encoded and blended with the text's estimate; elsewhere the run is plain guided DDIM. Defaults are ours where
    ``docs/treg.md`` says so; ``conf/solver/treg_compat.yaml`` gathers the released code's values.

    z_t, z_0, z_y: (B, c, h, w) latents. x: (B, 3, H, W) images in [-1, 1]. y: what the operator returns.

    Attributes:
        steps: sampling steps (released code: 200).
        data_steps: the set Gamma.
        lam: ridge of the proximal step; None takes the measurement's, which follows sigma and the operator's norm
            (released code: 1e-4 for every task).
        lam_power: lam (1 - alpha_bar)^-lam_power on data steps. 0 keeps lam; 1 lets it grow as the variance of the
            estimate falls (Song et al., ICLR 2023, PiGDM), so that the measurement acts early and the text late;
            below 0 it is the other way round.
        prox: ``Exact()``, ``CG(iterations, tolerance)`` (released code: 5 iterations, 1e-4) or ``Descent(iterations)``.
        encoder: ``mean`` of the autoencoder's posterior, or a ``sample`` of it (released code).
        blend: weight of z_y: ``alpha_bar_prev`` (paper), or ``data_only`` for 1.
        renoise: ``stochastic``, eta^2 sigma^2 = ab_prev (1 - ab_prev) (paper), or ``ddim``.
        order: of the ``ddim`` moves outside Gamma: 1 is DDIM, 2 is DPM-Solver++(2M), which needs fewer steps.
        off_window: outside Gamma: guided ``ddim``, or ``dps``, the gradient step of the full algorithm
            with the null text alone.
        dps_scale: step size rho of ``dps``; None is sqrt(ab_prev) (released code).
        final_projection: one last proximal step in image space: the autoencoder's round trip alone leaves a residual.
        final_residual: RMSE(y - A x) / sigma at which it stops on a linear task; None is the ridge of the other steps.
            See ``LastProjection`` for this and the next two.
        final_iterations: of ADMM, which keep it within [-1, 1]; 0 clamps it afterwards.
        final_penalty: of ADMM, in units of ||A||^2.
        alpha_shift: 1 shifts the alpha table against the timestep as the released code does, see
            ``VariancePreserving``.
    """

    steps: int = 50
    data_steps: DataSteps = field(default_factory=DataSteps)
    lam: float | None = None
    lam_power: float = 0.0
    prox: ProxMethod = field(default_factory=Exact)
    encoder: Encoder = "mean"
    blend: Blend = "alpha_bar_prev"
    renoise: Renoise = "stochastic"
    order: int = 1
    off_window: OffWindow = "ddim"
    dps_scale: float | None = None
    final_projection: bool = True
    final_residual: float | None = 1.0
    final_iterations: int = 20
    final_penalty: float = 0.1
    alpha_shift: int = 0
    needs_gradient = True
    tells_next = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "projects", self.final_projection)
        check_steps(self.steps)
        check_order(self.order)
        if self.lam is not None and not self.lam >= 0:
            raise FieldError("lam", self.lam, "must be >= 0")
        if not -4 <= self.lam_power <= 4:
            raise FieldError("lam_power", self.lam_power, "must be in [-4, 4]")
        check_choices(self, encoder=Encoder, blend=Blend, renoise=Renoise, off_window=OffWindow)
        if self.dps_scale is not None and not self.dps_scale >= 0:
            raise FieldError("dps_scale", self.dps_scale, "must be >= 0, or null for sqrt(alpha_bar_prev)")
        check_last(self, "final_")
        if self.alpha_shift not in (0, 1):
            raise FieldError("alpha_shift", self.alpha_shift, "must be 0 or 1")

    def moves(self, info: PriorInfo, signal_shape: tuple[int, ...]) -> list[Move]:
        """See :class:`Solver`; with the released code's index shift where ``alpha_shift`` asks for it."""
        if not self.alpha_shift:
            return super().moves(info, signal_shape)
        if not isinstance(info.schedule, VariancePreserving):
            raise FieldError("alpha_shift", self.alpha_shift, "shifts a table of alphas, and this prior has none")
        return super().moves(replace(info, schedule=info.schedule.shifted(self.alpha_shift)), signal_shape)

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        moves = self.moves(prior.info, problem.signal_shape)
        z_t = first_latent(moves[0], noise, prior.empty_latent(problem.empty_signal()))
        last: Estimate | None = None
        for move in moves:
            if self.data_steps.contains(move.index, self.steps):
                text = policy.prepare(prior, z_t, move.now, text, problem.misfit)
                at = policy.predict(prior, z_t, move.now, text)
                x_y = self.project(problem, prior.decode(at.z_0), move)
                z_y = self.encode(prior, x_y, move, noise)
                z = torch.lerp(at.z_0, z_y, self.weight(move))
                z_next = self.renoised(move, Prediction(z, at.eps), noise)
                # Adaptive negation, used from the next step on.
                state = StepState(z_t, move.now, at, x_y, problem.misfit, z_next, move.next)
                text, z_t = policy.update(prior, text, state), z_next
            elif self.off_window == "dps":
                at, z_t = self.dps(problem, prior, move, z_t, text)
            else:
                at = policy.predict(prior, z_t, move.now, text)
                z_t = move(extrapolated(move, at, last))
            last = Estimate(move.now, at.z_0) if self.order == 2 else None
            on_step(StepInfo(move, self.steps, at.z_0, z_t))
        x = prior.decode(at.z_0)  # the last Tweedie estimate, before any blend
        if not self.final_projection:
            return Restoration(x)
        projection = LastProjection(self.lam, self.prox, self.final_residual, self.final_iterations, self.final_penalty)
        return Restoration(projection(problem, x), extras={BEFORE_PROJECTION: x})

    def project(self, problem: InverseProblem, x: Tensor, move: Move) -> Tensor:
        """Proximal step in signal space: argmin ||y - A x_y||^2 + lam ||x_y - x||^2."""
        lam = problem.ridge(self.lam) * float(1 - move.now.signal_share) ** -self.lam_power
        return problem.operator.prox(problem.y, x, lam, self.prox)

    def encode(self, prior: Prior, x_y: Tensor, move: Move, noise: Noise) -> Tensor:
        """Latent of the data-consistent signal."""
        if self.encoder == "mean":
            return prior.encode(x_y)
        return prior.encode(x_y, noise.normal("encode", move.index, like=prior.empty_latent(x_y)))

    def weight(self, move: Move) -> Number:
        """How much of z_y enters the blend z = w z_y + (1 - w) z_0."""
        return move.next.alpha**2 if self.blend == "alpha_bar_prev" else 1.0

    def renoised(self, move: Move, at: Prediction, noise: Noise) -> Tensor:
        """To the next noise level after a data step."""
        if self.renoise == "ddim":
            return move(at)
        return move(at, eta=move.next.alpha, noise=noise.normal("renoise", move.index, like=at.z_0))

    def dps(
        self, problem: InverseProblem, prior: Prior, move: Move, z_t: Tensor, text: TextCondition
    ) -> tuple[Prediction, Tensor]:
        """Off-window step of the full algorithm: DDIM with the null text, minus rho * grad ||y - A D(z_0)||.

        The norm is per sample and not squared; the gradient runs through the network and the decoder.
        """
        with torch.enable_grad():
            z = z_t.detach().requires_grad_()
            at = prior.predict(z, move.now, text.null)
            residual = problem.y - problem.operator.A(prior.decode(at.z_0))
            (gradient,) = torch.autograd.grad(residual.flatten(1).norm(dim=1).sum(), z)
        at = at.detach()
        rho = move.next.alpha if self.dps_scale is None else self.dps_scale
        return at, move(at) - rho * gradient
