"""One operator after another: what linear and non-linear compositions share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.operators.base import Operator, is_random, make_operator
from treg_exp.operators.checks import check_sample_ids


class Chain(Operator):
    """A(x) = A_2(A_1(x)): ``second`` measures what ``first`` measures. Chains may be nested.

    Random parameters of ``second`` come from streams of the name "second/<sample_id>": two masks in a task differ. In
    a chain of several parts the name has one "second/" for every part before, however they are nested.

    Attributes:
        first: the operator of the signal.
        second: the operator of ``first``'s measurements, which are its signals.
    """

    def __init__(
        self,
        first: Callable[..., Operator],
        second: Callable[..., Operator],
        signal_shape: Sequence[int],
        sample_ids: Sequence[str],
        seed: int = 0,
    ) -> None:
        """Builds both parts; each is called as a task calls its operator, see ``make_operator``."""
        check_sample_ids(sample_ids)
        self.first = self._part("first", first, signal_shape, sample_ids, seed)
        before = "second/" * _parts(self.first)
        others = [f"{before}{sample_id}" for sample_id in sample_ids]
        try:
            self.second = self._part("second", second, self.first.measurement_shape, others, seed)
        except FieldError as error:
            if error.field != "second.signal_shape":
                raise
            raise FieldError(
                "second", error.value, f"cannot follow first, whose measurements have that shape: {error.allowed}"
            ) from error
        super().__init__(self.first.signal_shape, self.second.measurement_shape)
        self._alike = not any(_differs(*pair) for pair in ((first, self.first), (second, self.second)))

    @property
    def assumption(self) -> str:
        """Those of the parts."""
        return " ".join(part.assumption for part in (self.first, self.second) if part.assumption)

    @property
    def pictured(self) -> bool:  # type: ignore[override]  # an attribute elsewhere
        """Whether both parts leave a picture."""
        return self.first.pictured and self.second.pictured

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
        self,
        name: str,
        make: Callable[..., Operator],
        signal_shape: Sequence[int],
        sample_ids: Sequence[str],
        seed: int,
    ) -> Operator:
        if not callable(make):
            raise FieldError(name, type(make).__name__, "must be callable with signal_shape=...")
        try:
            return make_operator(make, signal_shape, sample_ids, seed)
        except FieldError as error:
            raise error.at(name) from error


def _parts(operator: Operator) -> int:
    """Number of operators in a chain."""
    return _parts(operator.first) + _parts(operator.second) if isinstance(operator, Chain) else 1


def _differs(make: Callable[..., Operator], part: Operator) -> bool:
    """Whether the samples of a part may differ, even where the batch has only one."""
    return part.samples > 1 or (not part._alike if isinstance(part, Chain) else is_random(make))
