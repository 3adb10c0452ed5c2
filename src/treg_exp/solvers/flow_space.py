"""What solvers share that are written for rectified flows, z_s = (1 - s) z_0 + s z_1."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.priors.info import PriorInfo
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.levels import Move
from treg_exp.solvers.base import Solver
from treg_exp.tasks.problems import InverseProblem

Pullback = Literal["auto", "pinv", "adjoint", "none"]


class FlowSolver(Solver):
    """One that takes a rectified flow only: its formulas mix by the time itself."""

    def moves(self, info: PriorInfo, signal_shape: tuple[int, ...]) -> list[Move]:
        """See :class:`Solver`; a prior of another family is refused."""
        if not isinstance(info.schedule, Flow):
            raise FieldError(
                "prior", type(info.schedule).__name__, f"{type(self).__name__} is written for rectified flows (Stable "
                "Diffusion 3, Flux), and this prior is none; take one, or this one as a flow as prior=emoji64_flow does"
            )  # fmt: skip
        return super().moves(info, signal_shape)


def pulled_back(problem: InverseProblem, x: Tensor, by: Pullback) -> Tensor:
    """The residual y - A x as such, or pulled back to signals: A^+ (y - A x) or A^T (y - A x); differentiable in x."""
    operator = problem.operator
    residual, by = operator.residual(problem.y, x), chosen(operator) if by == "auto" else by
    if by == "none":
        return residual
    assert isinstance(operator, LinearOperator), "check() refuses others"
    return operator.pinv(residual) if by == "pinv" else operator.adjoint(residual)


def chosen(operator: Operator) -> Pullback:
    """A^T of what is measured in the shape of the signal, as a blur, A^+ of what is smaller, nothing if not linear.

    A^+ of a blur is mostly noise. Of masks the two are the same.
    """
    if not isinstance(operator, LinearOperator):
        return "none"
    return "adjoint" if operator.measurement_shape == operator.signal_shape else "pinv"
