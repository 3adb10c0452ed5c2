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
    """The residual y - A x as such, or pulled back to signals, A^+ (y - A x) or A^T (y - A x), differentiable in x.

    ``auto`` is the one of `chosen`.
    """
    operator = problem.operator
    residual = operator.residual(problem.y, x)
    if by == "auto":
        by = chosen(operator)
    if by == "none":
        return residual
    assert isinstance(operator, LinearOperator), "check() refuses others"
    return operator.pinv(residual) if by == "pinv" else operator.adjoint(residual)


def chosen(operator: Operator) -> Pullback:
    """A^T where y has the shape of the signal, else A^+; of operators that are not linear neither.

    That is official for blurs, whose A^+ is mostly noise, and for super-resolution; of masks the two are the same. It
    goes by the shape alone: a blur that is followed by an average gets A^+, too.
    """
    if not isinstance(operator, LinearOperator):
        return "none"
    return "adjoint" if operator.measurement_shape == operator.signal_shape else "pinv"
