"""How a proximal step is computed: in closed form, or by a few conjugate gradient iterations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Exact:
    """The minimiser itself: closed form where the operator has one, else iterations to a tight tolerance."""


@dataclass(frozen=True)
class CG:
    """Conjugate gradients on the normal equations, started at x0.

    The defaults are those of the released TReg code. Few iterations act as a regulariser of their own:
    directions with small singular values are not reached.

    Attributes:
        iterations: upper limit of iterations, >= 1.
        tolerance: absolute residual norm of one sample at which that sample stops, >= 0.
    """

    iterations: int = 5
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        """Checks the fields."""
        if self.iterations < 1:
            raise ValueError(f"iterations={self.iterations}: must be an integer >= 1")
        if not self.tolerance >= 0:
            raise ValueError(f"tolerance={self.tolerance}: must be >= 0")


ProxMethod: TypeAlias = Exact | CG
EXACT = Exact()
