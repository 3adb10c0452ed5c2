"""FLAIR: a variational objective on a flow, in turns a step towards the prior and a descent on the measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_choices, check_integers, check_positive
from treg_exp.noise import Noise
from treg_exp.numerics.leaf import leaf_gradient, squares
from treg_exp.numerics.per_sample import beside
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.levels import Move
from treg_exp.solvers.base import OnStep, Restoration, StepInfo, check_steps, ignore
from treg_exp.solvers.flow_space import FlowSolver
from treg_exp.solvers.recomputing import recomputing
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState

Start = Literal["preview", "noise"]


@dataclass(frozen=True)
class FLAIR(FlowSolver):
    """FLAIR (Erbach et al., NeurIPS 2025, 2506.02680), on rectified flows.

    mu is the latent sought, e the noise that belongs to it. For t falling from 1 to t_end:

        e   <- (1 - t) e + sqrt(1 - (1 - t)^2) n        (deterministic trajectory adjustment, renoised)
        z_t  = (1 - t) mu + t e;   v the velocity there
        mu  <- mu - w(t) (v - (e - mu))                 (prior)
        mu  <- descent on w(t) ||A D(mu) - y||^2, until it fits  (hard data consistency)
        e   <- z_t + (1 - t) v

    No gradient goes through the network.

    Attributes:
        steps: times t, one evaluation each.
        t_end: last of them, in (0, 1).
        weights: w at evenly spaced times from 1 down to t_end, linear between them; one number is constant. The prior's
            step goes w / t of the way to z_0: above t it overshoots where the prior is sure, above 2 t it diverges. The
            paper calibrates them, 1/2 clip(1 / error(t), normalised, minus its tail), per backbone; the default is a
            straight line between the ends of such a curve.
        data_steps: most descent steps per time.
        data_lr: their step size, in units of 1 / ||A||^2. The official 0.1, and 12 for super-resolution x12, whose
            ||A||^2 is 1 / 144, are nearly one number in these units.
        stop: mean squared residual at which a sample's descent stops; None takes the measurement's variance.
        start: mu at first: the code of what the operator shows of y, A^+ y where it is linear (``preview``, paper), or
            ``noise``.
        checkpoint: compute the decoder again instead of keeping what the gradient needs.
    """

    steps: int = 50
    t_end: float = 0.18
    weights: Sequence[float] = (0.5, 0.0)
    data_steps: int = 15
    data_lr: float = 0.1
    stop: float | None = 1e-4
    start: Start = "preview"
    checkpoint: bool = False
    needs_gradient = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        object.__setattr__(self, "weights", tuple(self.weights))
        if not 0 < self.t_end < 1:
            raise FieldError("t_end", self.t_end, "must be in (0, 1)")
        if not self.weights or not all(0 <= w <= 1 for w in self.weights):
            raise FieldError("weights", self.weights, "must be numbers in [0, 1], at least one")
        check_integers(self, 0, "data_steps")
        check_positive(self, "data_lr")
        if self.stop is not None and not self.stop >= 0:
            raise FieldError("stop", self.stop, "must be >= 0, or null for the measurement's variance")
        check_choices(self, start=Start)

    def moves(self, info: PriorInfo, signal_shape: tuple[int, ...]) -> list[Move]:
        """The times of the paper, evenly spaced whatever the schedule's shift; the last move ends at the clean end."""
        super().moves(info, signal_shape)  # refuses other families
        schedule = info.schedule
        assert isinstance(schedule, Flow)
        levels = [schedule.level(t * schedule.train_timesteps) for t in [*self.times(), 0.0]]
        return [Move(k, now, following) for k, (now, following) in enumerate(pairwise(levels))]

    def times(self) -> list[float]:
        """The times t, falling."""
        return [1 + k / max(1, self.steps - 1) * (self.t_end - 1) for k in range(self.steps)]

    def weight(self, index: int) -> float:
        """The weight w of a step."""
        place = index / max(1, self.steps - 1) * (len(self.weights) - 1)
        low = min(int(place), len(self.weights) - 1)
        high = min(low + 1, len(self.weights) - 1)
        return self.weights[low] + (place - low) * (self.weights[high] - self.weights[low])

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        e = noise.normal("start", like=prior.empty_latent(problem.empty_signal()))
        mu = prior.encode(problem.preview()) if self.start == "preview" else noise.normal("start mu", like=e)
        for move in self.moves(prior.info, problem.signal_shape):
            t, w = float(move.now.sigma), self.weight(move.index)
            e = (1 - t) * e + (1 - (1 - t) ** 2) ** 0.5 * noise.normal("renoise", move.index, like=e)
            z_t = move.now.noisy(mu, e)
            text = policy.prepare(prior, z_t, move.now, text, problem.misfit)
            at = policy.predict(prior, z_t, move.now, text)
            v = at.eps - at.z_0
            mu = self.fitted(problem, prior, mu - w * (v - (e - mu)), w)
            if policy.moves_text:
                text = policy.update(prior, text, StepState(z_t, move.now, at, prior.decode(mu), problem.misfit))
            e = at.eps  # z_t + (1 - t) v
            on_step(StepInfo(move, self.steps, mu, move.next.noisy(mu, e)))
        return Restoration(prior.decode(mu))

    def fitted(self, problem: InverseProblem, prior: Prior, mu: Tensor, w: float) -> Tensor:
        """The latent after the descent on the measurement; samples that fit are left alone."""
        if w == 0:  # the last of the paper's times: nothing moves
            return mu
        network = recomputing(prior) if self.checkpoint else prior
        limit = problem.sigma**2 if self.stop is None else self.stop
        step = self.data_lr * w / (problem.operator.norm_sq or 1.0)
        places = problem.operator.measured().flatten(1).sum(1).clamp(min=1)

        def misfit(z: Tensor) -> tuple[Tensor, None]:
            return squares(problem.operator.residual(problem.y, network.decode(z))), None

        for _ in range(self.data_steps if problem.measured else 0):
            gradient, square, _ = leaf_gradient(misfit, mu)
            active = square / places >= limit
            if not bool(active.any()):
                break
            mu = torch.where(beside(active, mu), mu - step * gradient, mu)
        return mu
