"""Baselines without a prior: what the measurement alone says."""

from __future__ import annotations

import torch

from treg_exp.noise import Noise
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.priors.prior import Prior
from treg_exp.solvers.base import OnStep, Restoration, Solver, ignore
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy


class PseudoInverse(Solver):
    """x = pinv(A) y, the least-norm signal that explains the measurement (noise included)."""

    steps = 0
    uses_text = False
    uses_noise = False
    needs_linear = True

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        assert isinstance(problem.operator, LinearOperator), "check() refuses others"
        return Restoration(problem.operator.pinv(problem.y))


class Adjoint(Solver):
    """x = A^T y / ||A||^2, one normalised back-projection."""

    steps = 0
    uses_text = False
    uses_noise = False
    needs_linear = True

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        assert isinstance(problem.operator, LinearOperator), "check() refuses others"
        scale = problem.operator.norm_sq or 1.0  # 0 where nothing is measured
        return Restoration(problem.operator.adjoint(problem.y) / scale)
