"""A last proximal step in the space of signals: a part of TReg, and for every other solver a wrapper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_positive
from treg_exp.noise import Noise
from treg_exp.numerics.per_sample import beside
from treg_exp.operators.discrepancy import at_residual
from treg_exp.operators.in_range import prox_in_range
from treg_exp.operators.methods import Exact, ProxMethod
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.solvers.base import BEFORE_PROJECTION, OnStep, Restoration, Solver, ignore
from treg_exp.solvers.wrapper import Wrapper
from treg_exp.tasks.problems import InverseProblem, Problem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy


def check_last(piece: object, prefix: str = "") -> None:
    """FieldError unless a piece's values of the last projection can be used; ``prefix`` stands before their names."""
    residual, iterations = f"{prefix}residual", f"{prefix}iterations"
    if (value := getattr(piece, residual)) is not None and not value > 0:
        raise FieldError(residual, value, "must be > 0, or null for the ridge alone")
    if not 0 <= (value := getattr(piece, iterations)) <= 100_000:
        raise FieldError(iterations, value, "must be in [0, 100000]")
    check_positive(piece, f"{prefix}penalty")


@dataclass(frozen=True)
class LastProjection:
    """Moves a signal to the measurement: within [-1, 1], and no closer than the noise.

    A picture that a decoder makes of a latent shows what the autoencoder can show, so it misses the measurement by
    some sigma even where the sampler has done all it can. Our own choice; the paper has no such step.

    Attributes:
        lam: ridge of the proximal step; None takes the measurement's, which follows sigma and the operator's norm.
        prox: ``Exact()``, ``CG(iterations, tolerance)`` or ``Descent(iterations)``.
        residual: RMSE(y - A x) / sigma at which it stops on a linear task, by a ridge of its own for each sample,
            unless that of ``lam`` ends within 10 % of it; what is below before it is only clamped. None takes ``lam``,
            as does every noiseless or non-linear task.
        iterations: ADMM iterations that keep it within [-1, 1], see ``prox_in_range``; 0 clamps it afterwards, and so
            does every number on a non-linear task.
        penalty: of ADMM, in units of ||A||^2.
    """

    lam: float | None = None
    prox: ProxMethod = field(default_factory=Exact)
    residual: float | None = 1.0
    iterations: int = 20
    penalty: float = 0.1

    def __post_init__(self) -> None:
        if self.lam is not None and not self.lam >= 0:
            raise FieldError("lam", self.lam, "must be >= 0")
        check_last(self)

    def check(self, problem: Problem) -> None:
        """FieldError for an edit, or a measurement that no proximal step gets near."""
        if not isinstance(problem, InverseProblem):
            raise FieldError("", "LastProjection", f"meets a measurement, and {problem.name} has none")
        kind = type(problem.operator).__name__
        if not problem.operator.differentiable:
            raise FieldError("", "LastProjection", f"needs the gradient of the data term, and {kind} has none")
        problem.operator.check_prox(self.prox)

    def __call__(self, problem: InverseProblem, x: Tensor) -> Tensor:
        """The projected signals, (B, *signal_shape) float32 in [-1, 1], of ``x`` of that shape.

        A sample with a value that is not finite comes back as it is: clamped it would look like a result.
        """
        finite = x.flatten(1).isfinite().all(1)
        return torch.where(beside(finite, x), self._projected(problem, x), x)

    def _projected(self, problem: InverseProblem, x: Tensor) -> Tensor:
        operator, y, lam = problem.operator, problem.y, problem.ridge(self.lam)
        iterations = self.iterations if operator.linear else 0

        def step(lam: float | Tensor) -> Tensor:
            return prox_in_range(operator, y, x, lam, self.prox, iterations, self.penalty)

        # Without noise there is nothing to stop at, and on a non-linear task the residual need not follow lambda.
        if not self.residual or not problem.sigma > 0 or not operator.linear:
            return step(lam)
        return at_residual(operator, y, x, self.residual * problem.sigma, step, lam)


@dataclass(frozen=True)
class Projected(Wrapper):
    """Another solver, and the last projection after it. What has been projected already (TReg's) stays as it is.

    Attributes:
        of: the solver.
        last_step: the projection.
    """

    of: Solver
    last_step: LastProjection = field(default_factory=LastProjection)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "needs_gradient", True)  # of the data term, for the proximal step

    @property
    def title(self) -> str:
        """See :class:`Solver`."""
        return self.of.title if self.of.projects else f"{self.of.title} and a last projection"

    def cautions(self, policy: TextPolicy) -> Sequence[str]:
        """See :class:`Solver`; a projection that the other solver has by itself is none."""
        own = "has a last projection of its own, so last_step changes nothing"
        return [*self.of.cautions(policy), *([f"{self.of.title} {own}"] if self.of.projects else [])]

    def check(self, problem: Problem, info: PriorInfo) -> None:
        """See :class:`Solver`; the projection needs a measurement, and the gradient of its data term."""
        self.of.check(problem, info)
        try:
            self.last_step.check(problem)
        except FieldError as error:
            raise error.at("last_step") from error

    @torch.no_grad()
    def solve(
        self, problem: Any, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`; the extras have the signal before the projection."""
        found = self.of.solve(problem, text, prior, policy, noise, on_step)
        if self.of.projects:
            return found
        x = found.signal
        return replace(found, signal=self.last_step(problem, x), extras={**found.extras, BEFORE_PROJECTION: x})
