"""The problems that solvers are given."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from treg_exp.operators.base import Operator


@dataclass(frozen=True)
class InverseProblem:
    """Find signals that explain measurements y = A(x) + n. With nothing measured it is generation.

    A separation is one whose signals are (K, ...) and whose A is a sum.

    Attributes:
        y: (B, *measurement_shape) in the units of the operator's output.
        operator: the frozen forward operator that made y.
        sigma: standard deviation of n, in the units of y (signals in [-1, 1]).
        lam: weight of the proximal term, matched to sigma and to the operator's norm (see ``tasks/inverse.py``).
    """

    name: ClassVar[str] = "a measurement"
    y: Tensor
    operator: Operator
    sigma: float
    lam: float

    @property
    def batch_size(self) -> int:
        """Number of samples B."""
        return len(self.y)

    @property
    def signal_shape(self) -> tuple[int, ...]:
        """Shape of one signal."""
        return self.operator.signal_shape

    @property
    def measured(self) -> bool:
        """Whether anything is."""
        return self.y[0].numel() > 0

    def ridge(self, lam: float | None) -> float:
        """A solver's weight of the proximal term; None is that of the measurement."""
        return self.lam if lam is None else lam

    def empty_signal(self) -> Tensor:
        """(B, *signal_shape) on the device of y: its shape matters, not its values."""
        return self.y.new_empty(self.batch_size, *self.signal_shape)

    def misfit(self, x: Tensor) -> Tensor:
        """1/2 ||y - A(x)||^2 of each of the signals (B, *signal_shape), (B,); differentiable in x."""
        return self.operator.residual(self.y, x).flatten(1).square().sum(1) / 2

    def preview(self) -> Tensor:
        """Signals of the measurements for pictures, (B, *signal_shape)."""
        return self.operator.preview(self.y)

    def fingerprint(self, i: int) -> str:
        """Hash of the operator's parameters and of y: equal for two samples only if the same thing was measured."""
        return _digest(self.operator.fingerprint(i), self.y[i])

    def of_sample(self, i: int) -> InverseProblem:
        """The problem of one sample on the CPU, as a batch of one."""
        one = self.alone(i)
        return replace(one, y=one.y.cpu(), operator=one.operator.to("cpu"))

    def alone(self, i: int) -> InverseProblem:
        """The problem of one sample where it is, as a batch of one."""
        return replace(self, y=self.y[i : i + 1], operator=self.operator[i])


@dataclass(frozen=True)
class EditProblem:
    """Change given signals as a text says: inversion and editing. Nothing is measured.

    Attributes:
        source: (B, *signal_shape) in [-1, 1].
        mask: (B or 1, 1, ...) of 1 where the signal may change and 0 where it must stay; None: anywhere.
    """

    name: ClassVar[str] = "a signal to edit"
    source: Tensor
    mask: Tensor | None = None

    @property
    def batch_size(self) -> int:
        """Number of samples B."""
        return len(self.source)

    @property
    def signal_shape(self) -> tuple[int, ...]:
        """Shape of one signal."""
        return tuple(self.source.shape[1:])

    @property
    def measured(self) -> bool:
        """Nothing is."""
        return False

    def preview(self) -> Tensor:
        """The sources."""
        return self.source

    def fingerprint(self, i: int) -> str:
        """Hash of the source, and of the mask where there is one."""
        mask = "" if self.mask is None else _digest("mask", self.mask[i if len(self.mask) > 1 else 0])
        return _digest(f"edit{mask}", self.source[i])

    def of_sample(self, i: int) -> EditProblem:
        """The problem of one sample on the CPU, as a batch of one."""
        one = self.alone(i)
        return EditProblem(one.source.cpu(), None if one.mask is None else one.mask.cpu())

    def alone(self, i: int) -> EditProblem:
        """The problem of one sample where it is, as a batch of one."""
        mask = self.mask
        if mask is not None and len(mask) > 1:
            mask = mask[i : i + 1]
        return EditProblem(self.source[i : i + 1], mask)

    def empty_signal(self) -> Tensor:
        """(B, *signal_shape) on the device of the source: its shape matters, not its values."""
        return self.source.new_empty(self.source.shape)


Problem = InverseProblem | EditProblem


def _digest(text: str, values: Tensor) -> str:
    content = values.detach().cpu().contiguous().numpy().tobytes()
    return hashlib.sha256(text.encode() + content).hexdigest()[:12]
