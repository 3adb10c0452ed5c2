"""Baselines without a prior: what the measurement alone says."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from treg_exp.noise import Noise
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.priors.prior import Prior
from treg_exp.solvers.base import OnStep, Restoration, Solver, ignore
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy


class _Linear(Solver):
    """One linear map of the measurement; a new one implements ``estimate``."""

    steps = 0
    uses_text = False
    uses_noise = False
    needs_linear = True

    @abstractmethod
    def estimate(self, operator: LinearOperator, y: Tensor) -> Tensor:
        """(B, *measurement_shape) -> (B, *signal_shape)."""

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        assert isinstance(problem.operator, LinearOperator), "check() refuses others"
        return Restoration(self.estimate(problem.operator, problem.y))


class PseudoInverse(_Linear):
    """x = pinv(A) y, the least-norm signal that explains the measurement (noise included)."""

    def estimate(self, operator: LinearOperator, y: Tensor) -> Tensor:
        """See ``_Linear``."""
        return operator.pinv(y)


class Adjoint(_Linear):
    """x = A^T y / ||A||^2, one normalised back-projection."""

    def estimate(self, operator: LinearOperator, y: Tensor) -> Tensor:
        """See ``_Linear``."""
        return operator.adjoint(y) / (operator.norm_sq or 1.0)  # 0 where nothing is measured
