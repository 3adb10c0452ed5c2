"""One operator after another where a part is non-linear."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from treg_exp.operators.chain import Chain


class NonlinearComposition(Chain):
    """A(x) = A_2(A_1(x)), see ``Chain``; proximal steps by descent."""

    @property
    def differentiable(self) -> bool:  # type: ignore[override]  # an attribute elsewhere
        """Whether both parts are."""
        return self.first.differentiable and self.second.differentiable

    @property
    def norm_sq(self) -> float:
        """The product of the parts' norms: nominal, for lambda."""
        return self.first.norm_sq * self.second.norm_sq

    def _linearised(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        middle, pull_first = self.first._linearised(x)
        y, pull_second = self.second._linearised(middle)
        return y, lambda v: pull_first(pull_second(v))

    def measured(self) -> Tensor:
        """The entries that ``second`` measures."""
        return self.second.measured()

    def preview(self, y: Tensor) -> Tensor:
        """A signal made of y: what ``first`` makes of what ``second`` makes of it."""
        return self.first.preview(self.second.preview(y))
