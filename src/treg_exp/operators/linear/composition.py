"""One linear operator after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.operators.base import Operator
from treg_exp.operators.chain import Chain
from treg_exp.operators.linear.base import LinearOperator


class Composition(Chain, LinearOperator):
    """A x = A_2 A_1 x, see ``Chain``; proximal steps by CGLS.

    Attributes:
        first: the operator of the signal.
        second: the operator of ``first``'s measurements.
    """

    first: LinearOperator
    second: LinearOperator

    @property
    def norm_sq(self) -> float:
        """||A||^2; its bound ||A_1||^2 ||A_2||^2 where samples differ, so that lambda does not depend on the batch."""
        return self._norm_sq if self._alike else self.first.norm_sq * self.second.norm_sq

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.first.adjoint(self.second.adjoint(y))

    def _part(
        self,
        name: str,
        make: Callable[..., Operator],
        signal_shape: Sequence[int],
        sample_ids: Sequence[str],
        seed: int,
    ) -> LinearOperator:
        part = super()._part(name, make, signal_shape, sample_ids, seed)
        if not isinstance(part, LinearOperator):
            raise FieldError(name, type(part).__name__, "is non-linear; NonlinearComposition takes such parts")
        return part
