"""The contract of a linear forward operator, and what every operator inherits from it.

A new operator implements ``_A`` and ``_adjoint``; proximal step, pseudo-inverse, norm, fingerprint, selection
of samples and moving between devices come from here. Operators are frozen: nothing that changes their output
happens between measuring and solving.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from inspect import signature
from typing import ClassVar, Self

import torch
from torch import Tensor

from treg_exp.noise import generator
from treg_exp.numerics.cg import conjugate_gradients, damped_least_squares, half_square, largest_eigenvalue
from treg_exp.numerics.channels import by_channel
from treg_exp.numerics.descent import gradient_descent
from treg_exp.numerics.precision import full_precision
from treg_exp.operators.checks import check_image_shape, check_same_batch
from treg_exp.operators.methods import CG, EXACT, Descent, ProxMethod


class Operator(ABC):
    """A linear map from images to measurements, y = A x.

    Public attributes set by a constructor are the operator's parameters: they make its fingerprint. Names
    starting with an underscore are for values derived from them.

    Attributes:
        signal_shape: (3, H, W) of one image.
        measurement_shape: shape of one measurement.
        per_sample: names of the tensor attributes with a leading axis of 1 (shared) or B (one entry per
            sample).
        exact_iterations: upper limit of iterations where ``Exact`` has no closed form.
        exact_tolerance: fall of the gradient norm at which these iterations stop.
        elementwise: True where no product of matrices or convolution has to be kept in full precision.
        linear: False where there is no adjoint, see ``operators/nonlinear.py``.
        differentiable: False where ``gradient`` does not exist either.
        channelwise: True where channels are treated alike and the proximal step takes them one by one, to save memory.
    """

    elementwise: ClassVar[bool] = False
    linear: ClassVar[bool] = True
    differentiable: bool = True
    channelwise: ClassVar[bool] = False
    per_sample: ClassVar[tuple[str, ...]] = ()
    __iter__: ClassVar[None] = None  # selection by index alone would make an endless iteration
    exact_iterations: int = 500
    exact_tolerance: float = 1e-6

    def __init__(self, signal_shape: Sequence[int], measurement_shape: Sequence[int]) -> None:
        """Stores the shapes; (3, H, W) and the shape of one measurement."""
        self.signal_shape = check_image_shape(signal_shape)
        self.measurement_shape = tuple(int(n) for n in measurement_shape)
        self._place = torch.empty(0)  # moves along, and so tells the device of an operator without other tensors

    @abstractmethod
    def _A(self, x: Tensor) -> Tensor:
        """A of a checked float32 batch (B, 3, H, W)."""

    @abstractmethod
    def _adjoint(self, y: Tensor) -> Tensor:
        """Adjoint (transpose) of ``_A`` for a checked float32 batch (B, *measurement_shape)."""

    def _solve(self, residual: Tensor, lam: float) -> Tensor:
        """argmin_d ||residual - A d||^2 + lam ||d||^2; override where it has a closed form."""
        limits = (self.exact_iterations, self.exact_tolerance)
        return damped_least_squares(self._A, self._adjoint, residual, lam, *limits)

    @property
    def norm_sq(self) -> float:
        """||A||^2, the largest squared singular value (power iteration unless an operator knows it).

        Lambda follows from it, so it must not depend on the batch: operators with parameters per sample have to
        say a value that is alike for all samples.
        """
        if self.samples > 1 or is_random(type(self)):
            name = type(self).__name__
            raise ValueError(f"{name}: has parameters per sample and needs a norm_sq of its own, alike for all samples")
        return self._norm_sq

    @cached_property
    def _norm_sq(self) -> float:
        start = torch.randn(1, *self.signal_shape, generator=generator("operator norm")).to(self._device())
        return largest_eigenvalue(lambda x: self.adjoint(self.A(x)), start)

    def A(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) images in [-1, 1] units -> (B, *measurement_shape) measurements, float32."""
        x = self._checked("x", x, self.signal_shape)
        with self._precision(x.device):
            return self._A(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """(B, *measurement_shape) -> (B, 3, H, W), the transpose of ``A``, float32."""
        y = self._checked("y", y, self.measurement_shape)
        with self._precision(y.device):
            return self._adjoint(y)

    def residual(self, y: Tensor, x: Tensor) -> Tensor:
        """The residual y - A(x), (B, *measurement_shape), float32; differentiable in x."""
        y, x = self._checked_pair(y, "x", x)
        return y - self.A(x)

    def gradient(self, y: Tensor, x: Tensor) -> Tensor:
        """Gradient of 1/2 ||y - A(x)||^2 in x, per sample: (B, 3, H, W) float32, not part of a graph."""
        y, x = self._checked_pair(y, "x", x)
        with torch.no_grad(), self._precision(x.device):
            return self._data_term(y, x)[1]

    def _data_term(self, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """1/2 ||y - A(x)||^2 of each sample, (B,) float64, and its gradient in x; checked batches, no autograd."""
        image, pull_back = self._linearised(x)
        excess = image - y
        del image  # one less in memory, unless the graph needs it
        return half_square(excess), pull_back(excess)

    def _linearised(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """A(x), and the adjoint of the slope of A at x: what takes a residual to images."""
        return self._A(x), self._adjoint

    def prox(self, y: Tensor, x0: Tensor, lam: float, method: ProxMethod = EXACT) -> Tensor:
        """The proximal step argmin_x ||y - A x||^2 + lam ||x - x0||^2.

        Args:
            y: (B, *measurement_shape) measurements.
            x0: (B, 3, H, W) images to stay close to.
            lam: weight >= 0, in units of ``norm_sq``; 0 is the projection x0 + pinv(y - A x0).
            method: ``Exact()``, ``CG(iterations, tolerance)`` or ``Descent(iterations)``.

        Returns:
            (B, 3, H, W) float32.

        Raises:
            ValueError: a wrong shape, y and x0 of different numbers of samples, or a negative ``lam``.
        """
        if not lam >= 0:
            raise ValueError(f"lam={lam}: must be >= 0")
        y, x0 = self._checked_pair(y, "x0", x0)
        with self._precision(y.device):
            if isinstance(method, CG):
                return self._prox_cg(y, x0, lam, method)
            if isinstance(method, Descent):
                return self._prox_descent(y, x0, lam, method)
            return self._prox(y, x0, lam)

    def _prox(self, y: Tensor, x0: Tensor, lam: float) -> Tensor:
        """The minimiser of ``prox``; override where it needs fewer passes over the image."""

        def step(y: Tensor, x0: Tensor) -> Tensor:
            return x0 + self._solve(y - self._A(x0), lam)

        return by_channel(step, y, x0) if self.channelwise else step(y, x0)

    def _prox_cg(self, y: Tensor, x0: Tensor, lam: float, method: CG) -> Tensor:
        def normal(x: Tensor) -> Tensor:
            return self._adjoint(self._A(x)) + lam * x

        b = self._adjoint(y) + lam * x0
        return conjugate_gradients(normal, b, x0, method.iterations, method.tolerance)

    def _prox_descent(self, y: Tensor, x0: Tensor, lam: float, method: Descent) -> Tensor:
        def objective(x: Tensor) -> tuple[Tensor, Tensor]:
            value, gradient = self._data_term(y, x)
            move = x - x0
            value = value + lam * half_square(move)
            return value, move.mul_(lam).add_(gradient)

        with torch.no_grad():
            return gradient_descent(objective, x0, 1 / (self.norm_sq + lam), method.iterations)

    def pinv(self, y: Tensor) -> Tensor:
        """The image of least norm that fits y best, (B, *measurement_shape) -> (B, 3, H, W)."""
        y = self._checked("y", y, self.measurement_shape)
        with self._precision(y.device):
            return self._solve(y, 0.0)

    def null_space(self, x: Tensor) -> Tensor:
        """The part of images that the measurement cannot see: the projection x - pinv(A x) onto the null space of A.

        Added to any image, it changes no measurement. Directions of singular values that ``pinv`` leaves out (below
        ``rcond``, or beyond its iterations) count as unseen.

        Args:
            x: (B, 3, H, W) images in [-1, 1] units.

        Returns:
            (B, 3, H, W) float32 in the same units; A of it is zero but for rounding and ``rcond``.

        Raises:
            ValueError: a wrong shape, or an operator that is non-linear.
        """
        return self._checked("x", x, self.signal_shape) - self.pinv(self.A(x))

    def preview(self, y: Tensor) -> Tensor:
        """An image of y for pictures, (B, 3, H, W): the pseudo-inverse; non-linear operators have their own."""
        return self.pinv(y)

    def measured(self) -> Tensor:
        """Which entries of y carry a measurement: (1 or B, *measurement_shape) of 1 and 0.

        An entry that no image can change, such as a hole of an inpainting mask, has no noise either and does
        not count in averages over y.
        """
        probe = torch.randn(1, *self.signal_shape, generator=generator("measured entries"))
        return (self.A(probe.to(self._device()).expand(self.samples, -1, -1, -1)) != 0).to(torch.float32)

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
        one = self[i]
        digest = hashlib.sha256(type(self).__name__.encode())
        for name, value in sorted(vars(one).items()):
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
            raise ValueError(
                f"{name}: shape {tuple(value.shape)} does not fit {type(self).__name__}, which "
                f"needs (B, {', '.join(map(str, shape))})"
            )
        for parameter in self.per_sample:
            entries = len(getattr(self, parameter))
            if entries not in (1, len(value)):
                raise ValueError(f"{name}: {len(value)} samples, but {parameter} has {entries} entries")
        return value.to(torch.float32)

    def _checked_pair(self, y: Tensor, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Measurements and the images ``name``, checked and of the same batch size."""
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
