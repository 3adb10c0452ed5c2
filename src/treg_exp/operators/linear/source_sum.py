"""Mixtures: several sources of which only the sum is heard."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from treg_exp.operators.checks import check_integer, check_signal_shape
from treg_exp.operators.linear.tight import TightOperator


class SourceSum(TightOperator):
    """The sum of K sources: a signal is (K, *shape), its measurement has the shape of one source; A A^T = K.

    The proximal step gives every source the same share of what is missing in the sum; which source is which is left to
    the prior.

    Attributes:
        sources: K >= 1.
    """

    elementwise = True

    def __init__(self, sources: int, signal_shape: Sequence[int]) -> None:
        """Takes K and the shape of one source, such as (1, T); ``self.signal_shape`` is (K, 1, T) then."""
        check_integer("sources", sources)
        shape = check_signal_shape(signal_shape)
        super().__init__((int(sources), *shape), shape, float(sources))
        self.sources = int(sources)

    def _A(self, x: Tensor) -> Tensor:
        return x.sum(1)

    def _adjoint(self, y: Tensor) -> Tensor:
        return y[:, None].expand(-1, *self.signal_shape)
