"""Solvers refuse operators that lack what they take, before anything is loaded."""

from __future__ import annotations

import pytest

from tests.operators.tasks import NONLINEAR, load_task, smallest_shape
from treg_exp.errors import FieldError
from treg_exp.operators.linear.masking import Identity
from treg_exp.operators.methods import CG
from treg_exp.operators.nonlinear.jpeg import JPEG
from treg_exp.solvers.base import Solver
from treg_exp.solvers.baselines import Adjoint, PseudoInverse
from treg_exp.solvers.treg import TReg
from treg_exp.solvers.unconditional import Unconditional

SHAPE = (3, 32, 48)


@pytest.mark.parametrize("name", NONLINEAR)
@pytest.mark.parametrize("solver", [Adjoint(), PseudoInverse()], ids=lambda solver: type(solver).__name__)
def test_an_adjoint_is_asked_of_linear_operators_only(name: str, solver: Solver) -> None:
    operator = load_task(name).build(smallest_shape(name), ["a"])
    with pytest.raises(FieldError, match=r"^operator=\w+: \w+ needs a linear operator"):
        solver.check_operator(operator)
    for able in (Unconditional(), TReg()):
        able.check_operator(operator)
    with pytest.raises(FieldError, match=r"^prox=CG: solves linear equations"):
        TReg(prox=CG()).check_operator(operator)
    solver.check_operator(Identity(SHAPE))


def test_a_gradient_is_asked_of_differentiable_operators_only() -> None:
    exact = JPEG(10, SHAPE, "exact")
    with pytest.raises(FieldError, match=r"^operator=JPEG: TReg needs the gradient of the data term"):
        TReg().check_operator(exact)
    Unconditional().check_operator(exact)
