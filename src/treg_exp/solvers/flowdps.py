"""FlowDPS: the clean and the noisy end of a flow are guided apart, the first by the measurement."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from treg_exp.field_checks import check_at_least, check_choices, check_integers
from treg_exp.noise import Noise
from treg_exp.numerics.leaf import leaf_gradient, norms
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Prediction
from treg_exp.solvers.base import OnStep, Restoration, StepInfo, check_steps, first_latent, ignore
from treg_exp.solvers.flow_space import FlowSolver, Pullback, pulled_back
from treg_exp.solvers.recomputing import recomputing
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState


@dataclass(frozen=True)
class FlowDPS(FlowSolver):
    """FlowDPS (Kim et al., ICCV 2025, 2503.08136), on rectified flows.

    At time s, with z_0 and z_1 the two ends that the velocity points to:

        z_0~ = z_0 after some steps of  z_0 <- z_0 - step grad ||B (y - A D(z_0))||
        z_0' = (1 - s) z_0 + s z_0~
        z_1' = sqrt(s') z_1 + sqrt(1 - s') n
        z_s' = (1 - s') z_0' + s' z_1'

    No gradient goes through the network. Early steps take more of the measurement, late ones more fresh noise.

    Attributes:
        steps: of the flow.
        step_size: of the gradient steps, in units of the latent; the norm is not squared.
        inner_steps: gradient steps per step of the flow; 0 is the flow alone.
        pullback: B: ``pinv`` A^+ (official, super-resolution), ``adjoint`` A^T (official, deblurring), ``none``, or
            ``auto``: ``adjoint`` where y has the signal's shape, else ``pinv``, ``none`` if A is not linear.
        fresh: whether z_1' takes new noise; False is deterministic.
        checkpoint: compute the decoder again instead of keeping what the gradient needs.
    """

    steps: int = 28
    step_size: float = 15.0
    inner_steps: int = 3
    pullback: Pullback = "auto"
    fresh: bool = True
    checkpoint: bool = False
    needs_gradient = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_at_least(self, 0, "step_size")
        check_integers(self, 0, "inner_steps")
        check_choices(self, pullback=Pullback)
        object.__setattr__(self, "needs_linear", self.pullback in ("pinv", "adjoint"))

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        moves = self.moves(prior.info, problem.signal_shape)
        z_s = first_latent(moves[0], noise, prior.empty_latent(problem.empty_signal()))
        for move in moves:
            text = policy.prepare(prior, z_s, move.now, text, problem.misfit)
            at = policy.predict(prior, z_s, move.now, text)  # z_0 and z_1
            s, s_next = float(move.now.sigma), float(move.next.sigma)
            z_0 = (1 - s) * at.z_0 + s * self.consistent(problem, prior, at.z_0)
            if policy.moves_text:
                x_y = prior.decode(z_0)
                text = policy.update(prior, text, StepState(z_s, move.now, at, x_y, problem.misfit))
            eta = (1 - s_next) ** 0.5 if self.fresh else 0.0
            fresh = noise.normal("ddim", move.index, like=z_s) if eta else None
            z_s = move(Prediction(z_0, at.eps), eta, fresh)
            on_step(StepInfo(move, self.steps, z_0, z_s))
        return Restoration(prior.decode(z_s))

    def consistent(self, problem: InverseProblem, prior: Prior, z_0: Tensor) -> Tensor:
        """The clean end after the gradient steps, (B, *latent_shape)."""
        network = recomputing(prior) if self.checkpoint else prior

        def misfit(z: Tensor) -> tuple[Tensor, None]:
            return norms(pulled_back(problem, network.decode(z), self.pullback)), None

        for _ in range(self.inner_steps if problem.measured else 0):
            gradient, _, _ = leaf_gradient(misfit, z_0)
            z_0 = z_0 - self.step_size * gradient
        return z_0
