"""Denoising diffusion restoration: in the singular directions of A, what was measured replaces what is guessed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from treg_exp.field_checks import check_shares
from treg_exp.noise import Noise
from treg_exp.operators.base import Operator
from treg_exp.operators.singular_parts import check_singular_parts, singular_parts
from treg_exp.operators.spectrum import Spectrum
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level
from treg_exp.solvers.base import OnStep, Restoration, StepInfo, check_steps, ignore
from treg_exp.solvers.signal_space import SignalSolver
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState


@dataclass(frozen=True)
class DDRM(SignalSolver):
    """DDRM (Kawar et al., NeurIPS 2022, 2201.11793), with v = V^T x, A = U S V^T and v_y = S^+ U^T y.

    Next level (alpha, sigma), estimate v_0 and its noise e of this one; the measurement is as noisy as the direction s
    is at sigma / alpha = sigma_y / s:

        not seen, s = 0:             alpha v_0 + sigma (sqrt(1 - eta^2) e + eta n)
        more noise in y than here:   alpha v_0 + sigma (sqrt(1 - eta^2) (v_y - v_0) s / sigma_y + eta n)
        less:                        alpha ((1 - eta_b) v_0 + eta_b v_y) + sqrt(sigma^2 - (alpha eta_b sigma_y / s)^2) n

    Attributes:
        steps: noise levels.
        eta: share of fresh noise in the first two, in [0, 1].
        eta_b: how much of the measurement the third takes, in [0, 1]; the paper's conditions allow no more than
            2 sigma_d^2 / (sigma_d^2 + (sigma_y / s)^2).
    """

    steps: int = 20
    eta: float = 0.85
    eta_b: float = 1.0
    needs_linear = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_shares(self, "eta", "eta_b")

    def check_operator(self, operator: Operator) -> None:
        """See :class:`Solver`; singular values have to be known."""
        super().check_operator(operator)
        check_singular_parts(operator, "DDRM", "take solver=diffpir or dps")

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        moves = self.moves(prior.info, problem.signal_shape)
        parts = singular_parts(problem.operator)
        v_y = parts.seen(problem.y)
        start = noise.normal("start", like=prior.empty_latent(problem.empty_signal()))
        x_t = parts.turn_back(self.first(parts, problem.sigma, moves[0].now, v_y, parts.turn(start)))
        for move in moves:
            text = policy.prepare(prior, x_t, move.now, text, problem.misfit)
            at = policy.predict(prior, x_t, move.now, text)
            v_0, e = parts.turn(at.z_0), parts.turn(move.now.noise_in(x_t, at.z_0))
            fresh = parts.turn(noise.normal("ddrm", move.index, like=x_t))
            estimate, x_next = self.step(parts, problem.sigma, move.next, v_y, v_0, e, fresh)
            x_y = parts.turn_back(estimate)
            text = policy.update(prior, text, StepState(x_t, move.now, at, x_y, problem.misfit))
            x_t = parts.turn_back(x_next)
            on_step(StepInfo(move, self.steps, at.z_0, x_t))
        return Restoration(x_t)

    def first(self, parts: Spectrum, sigma_y: float, level: Level, v_y: Tensor, n: Tensor) -> Tensor:
        """The first coordinates: the measurement where it is less noisy than the level, else pure noise."""
        own, less = _noise_of_y(parts, sigma_y, level)
        return level.alpha * less * v_y + (level.sigma**2 - (less * own) ** 2).clamp(min=0).sqrt() * n

    def step(
        self, parts: Spectrum, sigma_y: float, level: Level, v_y: Tensor, v_0: Tensor, e: Tensor, n: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The estimate with the measurement put in, and the coordinates of x at the next level.

        Args:
            parts: singular values.
            sigma_y: deviation of the measurement.
            level: the next one.
            v_y: coordinates of what was measured.
            v_0: of the estimate.
            e: of the noise that it leaves.
            n: of fresh noise.
        """
        own, less = _noise_of_y(parts, sigma_y, level)
        more = (parts.values > 0).to(less) - less
        kept = (1 - self.eta**2) ** 0.5
        estimate = v_0 + less * self.eta_b * (v_y - v_0)
        # (v_y - v_0) s / sigma_y = alpha (v_y - v_0) / own: of unit size where v_0 is right
        told = torch.where(more > 0, level.alpha / own.clamp(min=1e-12), 0.0) * (v_y - v_0)
        guided = level.sigma * (kept * (more * told + (1 - more) * e) + self.eta * n)
        measured = (level.sigma**2 - (self.eta_b * less * own) ** 2).clamp(min=0).sqrt() * n
        return estimate, level.alpha * estimate + (1 - less) * guided + less * measured


def _noise_of_y(parts: Spectrum, sigma_y: float, level: Level) -> tuple[Tensor, Tensor]:
    """Deviation of alpha v_y in every direction (0 where nothing is seen), and 1 where that is at most the level's."""
    seen = parts.values > 0
    own = torch.where(seen, level.alpha * sigma_y / torch.where(seen, parts.values, 1.0), 0.0)
    return own, (seen & (own <= level.sigma)).to(own)
