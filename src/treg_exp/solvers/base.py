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
        needs_linear: True for solvers that take a proximal step, an adjoint or a pseudo-inverse.
    """

    steps: int
    uses_text: bool = True
    needs_linear: bool = False

    def check(self, operator: Operator) -> None:
        """Raise ValueError for an operator that the solver cannot use; called before any work is done."""
        if self.needs_linear and not operator.linear:
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()
            raise ValueError(
                f"solver={name} needs a linear operator; {type(operator).__name__} is non-linear: it has A and a "
                "gradient, but no adjoint, proximal step or pseudo-inverse. Choose a linear task or another solver"
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
