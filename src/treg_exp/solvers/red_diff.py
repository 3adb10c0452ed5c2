"""RED-diff: one signal moved by an optimiser, with the diffusion model as its regulariser at every level."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from treg_exp.field_checks import check_at_least, check_choices
from treg_exp.noise import Noise
from treg_exp.numerics.adamw import AdamW
from treg_exp.numerics.leaf import squares
from treg_exp.priors.prior import Prior
from treg_exp.solvers.base import OnStep, Restoration, StepInfo, check_steps, ignore
from treg_exp.solvers.signal_space import SignalSolver
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState

Weight = Literal["noise_to_signal", "constant"]
Start = Literal["preview", "noise"]


def paper_adam() -> AdamW:
    """Of the paper; one iteration is one step, so that ``iterations`` follows from ``steps``."""
    return AdamW(lr=0.1, iterations=0, betas=(0.9, 0.99), weight_decay=0.0)


@dataclass(frozen=True)
class REDDiff(SignalSolver):
    """RED-diff (Mardani et al., ICLR 2024, 2305.04391).

    One step per level, from high noise to low: with x_t = alpha mu + sigma n and e the estimate of n, Adam lowers

        ||y - A mu||^2 + w <e - n, mu>,   w = lam sigma / alpha, e and n held fixed.

    The second term is a gradient without the network's Jacobian: with this w it pulls mu towards the estimate of every
    level alike, lam (mu - z_0). Any operator with a gradient will do.

    Attributes:
        steps: noise levels, one evaluation each.
        lam: weight of the regulariser.
        weight: w: ``noise_to_signal`` (paper) or ``constant``, lam alone.
        data_weight: of the first term.
        start: mu at first: what the operator shows of y, A^+ y where it is linear (``preview``, paper), or the prior's
            first ``noise``.
        optimiser: of mu; its ``iterations`` are the steps.
    """

    steps: int = 999
    lam: float = 0.25
    weight: Weight = "noise_to_signal"
    data_weight: float = 1.0
    start: Start = "preview"
    optimiser: AdamW = field(default_factory=paper_adam)
    needs_gradient = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_at_least(self, 0, "lam", "data_weight")
        check_choices(self, weight=Weight, start=Start)

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        moves = iter(self.moves(prior.info, problem.signal_shape))

        def loss(mu: Tensor) -> Tensor:
            nonlocal text
            move, here = next(moves), mu.detach()
            with torch.no_grad():
                n = noise.normal("x_t", move.index, like=here)
                x_t = move.now.noisy(here, n)
                text = policy.prepare(prior, x_t, move.now, text, problem.misfit)
                at = policy.predict(prior, x_t, move.now, text)
                text = policy.update(prior, text, StepState(x_t, move.now, at, here, problem.misfit))
                # lam sigma / alpha (e - n) = lam (mu - z_0) for the e between x_t and z_0; nothing is divided by alpha
                pull = self.lam * (here - at.z_0 if self.weight == "noise_to_signal" else at.eps - n)
                on_step(StepInfo(move, self.steps, at.z_0, here))
            fit = squares(problem.operator.residual(problem.y, mu))
            return self.data_weight * fit + (pull * mu).flatten(1).sum(1)

        start = problem.preview() if self.start == "preview" else noise.normal("start", like=problem.empty_signal())
        adam = replace(self.optimiser, iterations=self.steps)
        return Restoration(adam.minimise(loss, start, stop_below=-math.inf))
