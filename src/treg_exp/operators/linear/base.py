"""What a linear forward operator has besides: adjoint, pseudo-inverse, null space and closed proximal steps.

A new one implements ``_A`` and ``_adjoint``, and ``_solve`` where it knows a closed form.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.noise import generator
from treg_exp.numerics.cg import conjugate_gradients, damped_least_squares, dot, largest_eigenvalue
from treg_exp.operators.base import Operator, is_random
from treg_exp.operators.methods import CG, Descent, ProxMethod


class LinearOperator(Operator):
    """A linear map from signals to measurements, y = A x.

    Attributes:
        exact_iterations: upper limit of iterations where ``Exact`` has no closed form.
        exact_tolerance: fall of the gradient norm at which these iterations stop.
    """

    linear: ClassVar[bool] = True
    exact_iterations: int = 500
    exact_tolerance: float = 1e-6

    @abstractmethod
    def _adjoint(self, y: Tensor) -> Tensor:
        """Adjoint (transpose) of ``_A`` for a checked float32 batch (B, *measurement_shape)."""

    def _solve(self, residual: Tensor, lam: float | Tensor) -> Tensor:
        """argmin_d ||residual - A d||^2 + lam ||d||^2; override where it has a closed form.

        ``lam`` is a number, or one per sample of shape (B, 1, ..., 1) with as many axes as a batch of signals.
        """
        limits = (self.exact_iterations, self.exact_tolerance)
        return damped_least_squares(self._A, self._adjoint, residual, lam, *limits)

    @property
    def norm_sq(self) -> float:
        """||A||^2, the largest squared singular value (power iteration unless an operator knows it).

        Lambda follows from it, so it must not depend on the batch: operators with parameters per sample have to
        say a value that is alike for all samples.
        """
        if self.samples > 1 or is_random(type(self)):
            kind = type(self).__name__
            raise FieldError(
                "operator", kind, "has parameters per sample and needs a norm_sq of its own, alike for all samples"
            )
        return self._norm_sq

    @cached_property
    def _norm_sq(self) -> float:
        start = torch.randn(1, *self.signal_shape, generator=generator("operator norm")).to(self._device())
        return largest_eigenvalue(lambda x: self.adjoint(self.A(x)), start)

    def adjoint(self, y: Tensor) -> Tensor:
        """(B, *measurement_shape) -> (B, *signal_shape), the transpose of ``A``, float32."""
        y = self._checked("y", y, self.measurement_shape)
        with self._precision(y.device):
            return self._adjoint(y)

    def pinv(self, y: Tensor) -> Tensor:
        """The signal of least norm that fits y best, (B, *measurement_shape) -> (B, *signal_shape)."""
        y = self._checked("y", y, self.measurement_shape)
        with self._precision(y.device):
            return self._solve(y, 0.0)

    def null_space(self, x: Tensor) -> Tensor:
        """The part of signals that the measurement cannot see: the projection x - pinv(A x) onto the null space of A.

        Added to any signal, it changes no measurement. Directions of singular values that ``pinv`` leaves out (below
        ``rcond``, or beyond its iterations) count as unseen.

        Args:
            x: (B, *signal_shape) signals in [-1, 1] units.

        Returns:
            (B, *signal_shape) float32 in the same units; A of it is zero but for rounding and ``rcond``.

        Raises:
            FieldError: a wrong shape.
        """
        return self._checked("x", x, self.signal_shape) - self.pinv(self.A(x))

    def preview(self, y: Tensor) -> Tensor:
        """A signal made of y for pictures, (B, *signal_shape): the pseudo-inverse."""
        return self.pinv(y)

    def measured(self) -> Tensor:
        """Which entries of y carry a measurement: those that are not 0 for a random signal."""
        probe = torch.randn(1, *self.signal_shape, generator=generator("measured entries"))
        probe = probe.to(self._device()).expand(self.samples, *self.signal_shape)
        return (self.A(probe) != 0).to(torch.float32)

    def _linearised(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return self._A(x), self._adjoint

    def _prox_by(self, method: ProxMethod, y: Tensor, x0: Tensor, lam: float | Tensor) -> Tensor:
        if isinstance(method, CG):
            return self._prox_cg(y, x0, lam, method)
        if isinstance(method, Descent):
            return self._prox_descent(y, x0, lam, method)
        return self._prox(y, x0, lam)

    def _prox(self, y: Tensor, x0: Tensor, lam: float | Tensor) -> Tensor:
        """The minimiser of ``prox``; override where it needs fewer passes over the signal, or less memory."""
        return x0 + self._solve(y - self._A(x0), lam)

    def _prox_cg(self, y: Tensor, x0: Tensor, lam: float | Tensor, method: CG) -> Tensor:
        def normal(x: Tensor) -> Tensor:
            return self._adjoint(self._A(x)) + lam * x

        b = self._adjoint(y) + lam * x0
        tolerance = method.tolerance * dot(b, b).sqrt() if method.relative else method.tolerance
        return conjugate_gradients(normal, b, x0, method.iterations, tolerance, method.guard)
