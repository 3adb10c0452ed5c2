"""How a proximal step is computed: in closed form, by conjugate gradients, or by gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from treg_exp.errors import FieldError
from treg_exp.operators.checks import check_integer


@dataclass(frozen=True)
class Exact:
    """The minimiser itself: closed form where the operator has one, else iterations to a tight tolerance.

    A non-linear operator has no more than a local minimum near x0: there it means ``Descent()``.
    """


@dataclass(frozen=True)
class CG:
    """Conjugate gradients on the normal equations, started at x0.

    The defaults are those of the released TReg code. Few iterations act as a regulariser of their own:
    directions with small singular values are not reached.

    Attributes:
        iterations: upper limit of iterations, >= 1.
        tolerance: residual norm of one sample at which that sample stops, >= 0.
        relative: the tolerance is in units of the norm of the right-hand side (as deepinv has it), not absolute.
        guard: added to the denominators of step sizes and directions, in squared units of the signal: steps get too
            short once residuals are that small (deepinv: 1e-8), 0 takes none.
    """

    iterations: int = 5
    tolerance: float = 1e-4
    relative: bool = False
    guard: float = 0.0

    def __post_init__(self) -> None:
        """Checks the fields."""
        check_integer("iterations", self.iterations, most=100_000)
        if not self.tolerance >= 0:
            raise FieldError("tolerance", self.tolerance, "must be >= 0")
        if not self.guard >= 0:
            raise FieldError("guard", self.guard, "must be >= 0")


@dataclass(frozen=True)
class Descent:
    """Gradient descent from x0 with a step size per sample that adapts, for operators of any kind.

    On the magnitudes of a Fourier transform its first step without ridge is the error-reduction step of Fienup
    (Applied Optics 21, 1982): take the measured magnitudes and keep the phases.

    Attributes:
        iterations: gradients per proximal step, >= 1.
    """

    iterations: int = 50

    def __post_init__(self) -> None:
        """Checks the fields."""
        check_integer("iterations", self.iterations, most=100_000)


ProxMethod: TypeAlias = Exact | CG | Descent
EXACT = Exact()
