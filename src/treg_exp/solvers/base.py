"""The contract of every solver."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable

from treg_exp.noise import Noise
from treg_exp.operators.base import Operator
from treg_exp.priors.base import Prior
from treg_exp.text.policy import TextPolicy
from treg_exp.types import Problem, Restoration, StepInfo

OnStep = Callable[[StepInfo], None]


def ignore(info: StepInfo) -> None:
    """The default ``on_step``: nobody is watching."""


class Solver(ABC):
    """One algorithm. Pure with respect to its inputs, batch-first; samples of a batch never influence each other.

    Attributes:
        steps: number of times ``on_step`` is called per batch (progress bars and time estimates rely on it).
        uses_text: False for solvers that never look at the prompt.
        needs_linear: True for solvers that take an adjoint or a pseudo-inverse.
        needs_gradient: True for solvers that take a proximal step or a gradient of the data term.
    """

    steps: int
    uses_text: bool = True
    needs_linear: bool = False
    needs_gradient: bool = False

    def check(self, operator: Operator) -> None:
        """Raise ValueError for an operator that the solver cannot use; called before any work is done."""
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()
        if self.needs_linear and not operator.linear:
            able = "solver=treg or solver=unconditional" if operator.differentiable else "solver=unconditional"
            raise ValueError(
                f"solver={name} needs a linear operator; {type(operator).__name__} is non-linear: it has no adjoint "
                f"and no pseudo-inverse. Choose a linear task, or {able}"
            )
        if self.needs_gradient and not operator.differentiable:
            raise ValueError(
                f"solver={name} needs the gradient of the data term; {type(operator).__name__} has none as configured "
                "(a step function), see the fields of task.operator. Change them or choose solver=unconditional"
            )

    @abstractmethod
    def solve(
        self, problem: Problem, prior: Prior, policy: TextPolicy, noise: Noise, on_step: OnStep = ignore
    ) -> Restoration:
        """Restore a batch of B measurements.

        Args:
            problem: measurement, operator and embedded text.
            prior: the diffusion model.
            policy: guidance and null-text rules.
            noise: random streams, one per sample.
            on_step: called after each step.

        Returns:
            images (B, 3, H, W) in [-1, 1] units.
        """


def check_steps(steps: int) -> None:
    """Raise ValueError unless there is at least one step."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps={steps}: must be an integer >= 1")
