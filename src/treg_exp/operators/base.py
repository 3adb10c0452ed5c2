"""The contract of every forward operator, and what all of them inherit.

A new operator implements ``_A``; gradient, proximal step by descent, preview, fingerprint, selection of samples and
moving between devices come from here. A linear one derives from ``LinearOperator`` and gets more. Operators are
frozen: nothing that changes their output happens between measuring and solving.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from typing import ClassVar, Self

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.numerics.cg import half_square, per_sample
from treg_exp.numerics.descent import gradient_descent
from treg_exp.numerics.precision import full_precision
from treg_exp.operators.checks import check_ridge, check_same_batch, check_signal_shape
from treg_exp.operators.methods import CG, EXACT, Descent, ProxMethod


class Operator(ABC):
    """A map from signals to measurements, y = A(x), differentiable by autograd.

    Public attributes set by a constructor are the operator's parameters: they make its fingerprint. Names
    starting with an underscore are for values derived from them.

    Attributes:
        signal_shape: shape of one signal: (3, H, W) for images, (1, T) for recordings, (K, 1, T) for K of them.
        measurement_shape: shape of one measurement.
        linear: True for those with an adjoint, which derive from ``LinearOperator``.
        differentiable: False where the data term has no gradient.
        pictured: False where y shows nothing of the signal although it has the shape of one: it is plotted then.
        per_sample: names of the tensor attributes with a leading axis of 1 (shared) or B (one entry per
            sample).
        elementwise: True where no product of matrices or convolution has to be kept in full precision.
    """

    linear: ClassVar[bool] = False
    differentiable: bool = True
    pictured: bool = True
    per_sample: ClassVar[tuple[str, ...]] = ()
    elementwise: ClassVar[bool] = False
    __iter__: ClassVar[None] = None  # selection by index alone would make an endless iteration

    def __init__(self, signal_shape: Sequence[int], measurement_shape: Sequence[int]) -> None:
        """Stores the shapes of one signal and of one measurement."""
        self.signal_shape = check_signal_shape(signal_shape)
        self.measurement_shape = tuple(int(n) for n in measurement_shape)
        self._place = torch.empty(0)  # moves along, and so tells the device of an operator without other tensors

    @abstractmethod
    def _A(self, x: Tensor) -> Tensor:
        """A of a checked float32 batch (B, *signal_shape)."""

    @property
    def assumption(self) -> str:
        """What users of real measurements easily have otherwise, in one line for them; nothing for most operators."""
        return ""

    @property
    def norm_sq(self) -> float:
        """The scale of the data term, by which lambda is chosen; alike for all samples, whatever the batch.

        ||A||^2 for a linear operator. Here 1, nominal: the slope of another map depends on the signal.
        """
        return 1.0

    def A(self, x: Tensor) -> Tensor:
        """(B, *signal_shape) signals in [-1, 1] units -> (B, *measurement_shape) measurements, float32."""
        x = self._checked("x", x, self.signal_shape)
        with self._precision(x.device):
            return self._A(x)

    def residual(self, y: Tensor, x: Tensor) -> Tensor:
        """The residual y - A(x), (B, *measurement_shape), float32; differentiable in x."""
        y, x = self._checked_pair(y, "x", x)
        return y - self.A(x)

    def gradient(self, y: Tensor, x: Tensor) -> Tensor:
        """Gradient of 1/2 ||y - A(x)||^2 in x, per sample: (B, *signal_shape) float32, not part of a graph."""
        y, x = self._checked_pair(y, "x", x)
        with torch.no_grad(), self._precision(x.device):
            return self._data_term(y, x)[1]

    def _data_term(self, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """1/2 ||y - A(x)||^2 of each sample, (B,) float64, and its gradient in x; checked batches, no autograd."""
        if not self.differentiable:
            kind = type(self).__name__
            raise FieldError("operator", kind, "has no gradient as configured (a step function); see its fields")
        image, pull_back = self._linearised(x)
        excess = image - y
        del image  # one less in memory, unless the graph needs it
        return half_square(excess), pull_back(excess)

    def _linearised(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """A(x), and the adjoint of the slope of A at x: what takes a residual back to signals.

        By autograd; a closed form saves what that keeps: every tensor that ``_A`` makes on its way.
        """
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            image = self._A(x)

        def pull_back(v: Tensor) -> Tensor:
            (pulled,) = torch.autograd.grad(image, x, v)
            return pulled

        return image.detach(), pull_back

    def prox(self, y: Tensor, x0: Tensor, lam: float | Tensor, method: ProxMethod = EXACT) -> Tensor:
        """The proximal step argmin_x ||y - A(x)||^2 + lam ||x - x0||^2; a local minimum unless A is linear.

        Args:
            y: (B, *measurement_shape) measurements.
            x0: (B, *signal_shape) signals to stay close to.
            lam: weight >= 0, in units of ``norm_sq``, or one per sample, (B,); for a linear A, 0 is the projection
                x0 + pinv(y - A x0).
            method: ``Exact()``, ``CG(iterations, tolerance)`` or ``Descent(iterations)``.

        Returns:
            (B, *signal_shape) float32.

        Raises:
            FieldError: a wrong shape, y and x0 of different numbers of samples, a negative ``lam``, or a method that
                needs a linear operator.
        """
        y, x0 = self._checked_pair(y, "x0", x0)
        lam = check_ridge(lam, x0)
        with self._precision(y.device):
            return self._prox_by(method, y, x0, lam)

    def check_prox(self, method: object, instead: str = "descent") -> None:
        """FieldError where ``method`` cannot solve a proximal step of this operator; ``instead`` is what to take."""
        if isinstance(method, CG) and not self.linear:
            kind = type(self).__name__
            raise FieldError("prox", "CG", f"solves linear equations, and {kind} is non-linear; take {instead}")

    def _prox_by(self, method: ProxMethod, y: Tensor, x0: Tensor, lam: float | Tensor) -> Tensor:
        """``prox`` of checked batches in full precision; ``lam`` is a number or (B, 1, ..., 1)."""
        self.check_prox(method, "Exact or Descent")
        return self._prox_descent(y, x0, lam, method if isinstance(method, Descent) else Descent())

    def _prox_descent(self, y: Tensor, x0: Tensor, lam: float | Tensor, method: Descent) -> Tensor:
        each = per_sample(lam)

        def objective(x: Tensor) -> tuple[Tensor, Tensor]:
            value, gradient = self._data_term(y, x)
            move = x - x0
            value = value + each * half_square(move)
            return value, move.mul_(lam).add_(gradient)

        with torch.no_grad():
            return gradient_descent(objective, x0, 1 / (self.norm_sq + each), method.iterations)

    def preview(self, y: Tensor) -> Tensor:
        """A signal made of y, (B, *signal_shape), for pictures and starts; in general no inverse.

        Here y itself, clamped, where it has the shape of a signal, else zeros.
        """
        y = self._checked("y", y, self.measurement_shape)
        if self.measurement_shape == self.signal_shape:
            return y.clamp(-1, 1)
        return y.new_zeros(len(y), *self.signal_shape)

    def measured(self) -> Tensor:
        """Which entries of y carry a measurement: (1 or B, *measurement_shape) of 1 and 0; here all of them.

        An entry that no signal can change, such as a hole of an inpainting mask, has no noise either and does
        not count in averages over y.
        """
        return torch.ones(1, *self.measurement_shape, device=self._device())

    @property
    def samples(self) -> int:
        """Number of samples that the operator has parameters for; 1 where all samples share them."""
        return max((len(getattr(self, name)) for name in self.per_sample), default=1)

    def to(self, device: torch.device | str) -> Self:
        """The same operator on another device; the original stays where it is."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        return moved

    def __getitem__(self, index: int | slice) -> Self:
        """The operator of some samples; an int keeps a batch of one. Shared parameters stay shared."""
        selected = copy.copy(self)
        for name in self.per_sample:
            value = getattr(self, name)
            if len(value) > 1:
                setattr(selected, name, value[index][None] if isinstance(index, int) else value[index])
        return selected

    def fingerprint(self, i: int = 0) -> str:
        """12 hexadecimal digits that identify the class and the parameters of sample ``i``."""
        # The signal's shape goes by its first name, so that fingerprints recorded under it stay as they are.
        one = {"image_shape" if name == "signal_shape" else name: value for name, value in vars(self[i]).items()}
        digest = hashlib.sha256(type(self).__name__.encode())
        for name, value in sorted(one.items()):
            if not name.startswith("_"):
                digest.update(f"\x1f{name}=".encode())
                digest.update(_content(value))
        return digest.hexdigest()[:12]

    def _precision(self, device: torch.device) -> AbstractContextManager[None]:
        return nullcontext() if self.elementwise else full_precision(device)

    def _device(self) -> torch.device:
        return self._place.device

    def _checked(self, name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
        """``value`` in float32 after a check of its shape and of its batch size."""
        if tuple(value.shape[1:]) != shape or value.dim() != len(shape) + 1:
            needed = f"(B, {', '.join(map(str, shape))})"
            raise FieldError(name, tuple(value.shape), f"does not fit {type(self).__name__}, which needs {needed}")
        for parameter in self.per_sample:
            entries = len(getattr(self, parameter))
            if entries not in (1, len(value)):
                difference = f"{len(value)} samples, but {parameter} has {entries} entries"
                raise FieldError(name, tuple(value.shape), difference)
        return value.to(torch.float32)

    def _checked_pair(self, y: Tensor, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Measurements and the signals ``name``, checked and of the same batch size."""
        y, x = self._checked("y", y, self.measurement_shape), self._checked(name, x, self.signal_shape)
        check_same_batch(y, name, x)
        return y, x


def make_operator(
    make: Callable[..., Operator], signal_shape: Sequence[int], sample_ids: Sequence[str], seed: int
) -> Operator:
    """``make(signal_shape=...)``; an operator with random parameters gets ``sample_ids`` and ``seed`` as well."""
    own = {"sample_ids": sample_ids, "seed": seed} if is_random(make) else {}
    return make(signal_shape=signal_shape, **own)


def is_random(make: Callable[..., Operator]) -> bool:
    """Whether an operator has parameters that are drawn per sample."""
    return "sample_ids" in signature(make).parameters


def _content(value: object) -> bytes:
    """Bytes that stand for a parameter in a fingerprint: a tensor's shape and values, a part's own, else the repr."""
    if isinstance(value, Operator):
        return value.fingerprint().encode()
    if isinstance(value, Tensor):
        array = value.detach().cpu().contiguous()
        return f"{tuple(array.shape)}{array.dtype}".encode() + array.numpy().tobytes()
    return repr(value).encode()
