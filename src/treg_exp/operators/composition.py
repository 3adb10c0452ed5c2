"""One operator after another: A(x) = A_2(A_1(x))."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor

from treg_exp.operators.base import Operator, is_random, make_operator
from treg_exp.operators.checks import check_sample_ids
from treg_exp.operators.nonlinear.base import NonlinearOperator


class _Chain(Operator):
    """``second`` measures what ``first`` measures. Compositions may be nested.

    Random parameters of ``second`` come from streams of the name "second/<sample_id>": two masks in a task differ. In
    a chain of several parts the name has one "second/" for every part before, however they are nested.

    Attributes:
        first: the operator of the image.
        second: the operator of ``first``'s measurements, which must be images of three channels.
    """

    def __init__(
        self,
        first: Callable[..., Operator],
        second: Callable[..., Operator],
        signal_shape: Sequence[int],
        sample_ids: Sequence[str],
        seed: int = 0,
    ) -> None:
        """Builds both parts; each is called as ``Task`` calls its operator (in YAML: ``_partial_: true``)."""
        check_sample_ids(sample_ids)
        self.first = self._part(first, signal_shape, sample_ids, seed)
        before = "second/" * _parts(self.first)
        others = [f"{before}{sample_id}" for sample_id in sample_ids]
        try:
            self.second = self._part(second, self.first.measurement_shape, others, seed)
        except ValueError as error:
            shape = self.first.measurement_shape
            raise ValueError(f"second: cannot follow first, whose measurements are {shape}: {error}") from None
        super().__init__(self.first.signal_shape, self.second.measurement_shape)
        self._alike = not any(_differs(*pair) for pair in ((first, self.first), (second, self.second)))

    @property
    def samples(self) -> int:
        """Samples that one of the parts has parameters of its own for."""
        return max(self.first.samples, self.second.samples)

    def to(self, device: torch.device | str) -> Self:
        """The same operator on another device, with its parts."""
        moved = super().to(device)
        moved.first, moved.second = self.first.to(device), self.second.to(device)
        return moved

    def __getitem__(self, index: int | slice) -> Self:
        """The operator of some samples."""
        selected = super().__getitem__(index)
        selected.first, selected.second = self.first[index], self.second[index]
        return selected

    def _A(self, x: Tensor) -> Tensor:
        return self.second.A(self.first.A(x))

    def _part(
        self, make: Callable[..., Operator], signal_shape: Sequence[int], sample_ids: Sequence[str], seed: int
    ) -> Operator:
        if not callable(make):
            raise ValueError("must be callable with signal_shape=... (in YAML: _partial_: true)")
        part = make_operator(make, signal_shape, sample_ids, seed)
        if self.linear and not part.linear:
            raise ValueError(f"{type(part).__name__} is non-linear; NonlinearComposition takes such parts")
        return part


class Composition(_Chain):
    """One linear operator after another, A x = A_2 A_1 x; proximal steps by CGLS."""

    @property
    def norm_sq(self) -> float:
        """||A||^2; its bound ||A_1||^2 ||A_2||^2 where samples differ, so that lambda does not depend on the batch."""
        return self._norm_sq if self._alike else self.first.norm_sq * self.second.norm_sq

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.first.adjoint(self.second.adjoint(y))


class NonlinearComposition(_Chain, NonlinearOperator):
    """One operator after another where a part is non-linear; proximal steps by descent."""

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
        """An image of y: what ``first`` makes of what ``second`` makes of it."""
        return self.first.preview(self.second.preview(y))


def _parts(operator: Operator) -> int:
    """Number of operators in a chain."""
    return _parts(operator.first) + _parts(operator.second) if isinstance(operator, _Chain) else 1


def _differs(make: Callable[..., Operator], part: Operator) -> bool:
    """Whether the samples of a part may differ, even where the batch has only one."""
    return part.samples > 1 or (not part._alike if isinstance(part, _Chain) else is_random(make))
