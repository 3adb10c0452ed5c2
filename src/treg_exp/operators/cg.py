"""Conjugate gradients for a batch of independent problems.

Every sample has its own step sizes and its own stopping: a finished sample is frozen by a mask, so no result
depends on what else is in the batch. Inner products are accumulated in float64 for the same reason (a float32
sum is split differently for different batch sizes).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Linear = Callable[[Tensor], Tensor]


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of every sample, (B, ...), (B, ...) -> (B,); summed in float64 if the device has it."""
    dtype = torch.float32 if a.device.type == "mps" else torch.float64
    return (a * b).flatten(1).sum(1, dtype=dtype)


def _like(value: Tensor, x: Tensor) -> Tensor:
    """(B,) -> (B, 1, ...) in the dtype of x, ready to multiply a batch."""
    return value.to(x.dtype).view(-1, *(1,) * (x.dim() - 1))


def _ratio(numerator: Tensor, denominator: Tensor, active: Tensor) -> Tensor:
    """Quotients of the active samples, 0 for the others: a zero step leaves a sample as it is."""
    usable = active & (denominator > 0)
    return torch.where(usable, numerator / torch.where(usable, denominator, 1), 0)


def conjugate_gradients(apply: Linear, b: Tensor, start: Tensor, iterations: int, tolerance: float) -> Tensor:
    """Solves ``apply(x) = b`` for every sample, ``apply`` symmetric and positive (semi-)definite.

    The residual is tested after each update, as in the released TReg code: at least one iteration is made.

    Args:
        apply: the matrix, as a function (B, ...) -> (B, ...) that treats samples independently.
        b: (B, ...) right-hand side.
        start: (B, ...) first iterate.
        iterations: upper limit.
        tolerance: a sample stops once its residual norm ||b - apply(x)|| is below this value.

    Returns:
        (B, ...) the last iterate of each sample.
    """
    x, residual = start, b - apply(start)
    direction, energy = residual, dot(residual, residual)
    active, steepest = energy > 0, torch.zeros_like(energy)
    for _ in range(iterations):
        image = apply(direction)
        bend = dot(direction, image)
        curvature = _ratio(bend, dot(direction, direction), active)
        steepest = steepest.maximum(curvature)
        # A direction that apply() maps to rounding errors lies in the null space: a step has no limit there.
        active = active & (curvature > 10 * torch.finfo(torch.float32).eps * steepest)
        step = _ratio(energy, bend, active)
        x = x + _like(step, x) * direction
        residual = residual - _like(step, x) * image
        previous, energy = energy, dot(residual, residual)
        active = active & (energy >= tolerance**2)
        if not bool(active.any()):
            break
        direction = residual + _like(_ratio(energy, previous, active), x) * direction
    return x


def damped_least_squares(
    A: Linear, adjoint: Linear, y: Tensor, lam: float, iterations: int, tolerance: float
) -> Tensor:
    """The minimiser of ||y - A d||^2 + lam ||d||^2 by CGLS, started at d = 0.

    CGLS never forms A^T A, which keeps the accuracy of float32 where plain conjugate gradients on the normal
    equations lose half of it. All iterates lie in the range of A^T: for lam = 0 the limit is the
    pseudo-inverse.

    Args:
        A: (B, ...) -> (B, ...), samples independent.
        adjoint: its transpose.
        y: (B, ...) data.
        lam: weight of the damping, >= 0.
        iterations: upper limit.
        tolerance: a sample stops once its gradient norm has fallen by this factor.

    Returns:
        (B, ...) the minimisers.
    """
    residual, gradient = y, adjoint(y)
    d, direction = torch.zeros_like(gradient), gradient
    energy = dot(gradient, gradient)
    goal, active = tolerance**2 * energy, energy > 0
    for _ in range(iterations):
        image = A(direction)
        step = _ratio(energy, dot(image, image) + lam * dot(direction, direction), active)
        d = d + _like(step, d) * direction
        residual = residual - _like(step, residual) * image
        gradient = adjoint(residual) - lam * d
        previous, energy = energy, dot(gradient, gradient)
        active = active & (energy > goal)
        if not bool(active.any()):
            break
        direction = gradient + _like(_ratio(energy, previous, active), d) * direction
    return d


def largest_eigenvalue(apply: Linear, start: Tensor, iterations: int = 200, tolerance: float = 1e-5) -> float:
    """Largest eigenvalue of a symmetric positive semi-definite map by power iteration.

    Args:
        apply: the map, (1, ...) -> (1, ...).
        start: (1, ...) first vector; the same start gives the same value.
        iterations: upper limit.
        tolerance: stops once the estimate changes by less than this fraction.

    Returns:
        The estimate; it approaches the eigenvalue from below.
    """
    vector, value = start, 0.0
    for _ in range(iterations):
        norm = float(dot(vector, vector).sqrt())
        if norm == 0:
            return 0.0
        unit = vector / norm
        vector = apply(unit)
        previous, value = value, float(dot(unit, vector))
        if abs(value - previous) <= tolerance * value:
            break
    return value
