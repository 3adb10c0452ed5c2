"""Conjugate gradients for a batch of independent problems.

Every sample has its own step sizes and its own stopping: a finished sample is frozen by a mask, so no result
depends on what else is in the batch. Inner products are accumulated in float64 for the same reason (a float32
sum is split differently for different batch sizes).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from treg_exp.numerics.per_sample import beside

Linear = Callable[[Tensor], Tensor]

#: Entries of a sample that ``dot`` takes at once: torch copies to float64 what it adds up in float64, twice the memory.
PART = 2**17


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of every sample, (B, ...), (B, ...) -> (B,); summed in float64 if the device has it."""
    dtype = torch.float32 if a.device.type == "mps" else torch.float64
    parts = zip(*(torch.split(x.flatten(1), PART, 1) for x in (a, b)), strict=True)
    return torch.stack([(p * q).sum(1, dtype=dtype) for p, q in parts]).sum(0)


def half_square(x: Tensor) -> Tensor:
    """1/2 ||x||^2 of every sample, (B, ...) -> (B,)."""
    return dot(x, x) / 2


def _like(value: Tensor, x: Tensor) -> Tensor:
    """(B,) -> (B, 1, ...) in the dtype of x, ready to multiply a batch."""
    return beside(value.to(x.dtype), x)


def _ratio(numerator: Tensor, denominator: Tensor, active: Tensor) -> Tensor:
    """Quotients of the active samples, 0 for the others: a zero step leaves a sample as it is."""
    usable = active & (denominator > 0)
    return torch.where(usable, numerator / torch.where(usable, denominator, 1), 0)


def conjugate_gradients(
    apply: Linear, b: Tensor, start: Tensor, iterations: int, tolerance: float | Tensor, guard: float = 0.0
) -> Tensor:
    """Solves ``apply(x) = b`` for every sample, ``apply`` symmetric and positive (semi-)definite.

    The residual is tested after each update, as in the released TReg code: at least one iteration is made.

    Args:
        apply: the matrix, as a function (B, ...) -> (B, ...) that treats samples independently.
        b: (B, ...) right-hand side.
        start: (B, ...) first iterate.
        iterations: upper limit.
        tolerance: a sample stops once its residual norm ||b - apply(x)|| is below this value; one number, or (B,).
        guard: added to denominators, as some codes do against a division by zero; 0 is the method itself.

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
        step = _ratio(energy, bend + guard, active)
        x = x + _like(step, x) * direction
        residual = residual - _like(step, x) * image
        previous, energy = energy, dot(residual, residual)
        active = active & (energy >= tolerance**2)
        if not bool(active.any()):
            break
        direction = residual + _like(_ratio(energy, previous + guard, active), x) * direction
    return x


def _advanced(x: Tensor, step: Tensor, direction: Tensor) -> Tensor:
    """A step (B,) from x along a direction: in place, for memory counts, unless autograd records it."""
    if x.requires_grad or step.requires_grad or direction.requires_grad:
        return torch.addcmul(x, _like(step, x), direction)
    return x.addcmul_(_like(step, x), direction)


def per_sample(lam: float | Tensor) -> float | Tensor:
    """A weight (B, 1, ..., 1) as (B,), to multiply inner products; a number stays one."""
    return lam.flatten() if isinstance(lam, Tensor) else lam


def _damped(gradient: Tensor, d: Tensor, lam: float | Tensor) -> Tensor:
    """Gradient - lam d in one pass."""
    if isinstance(lam, Tensor):
        return torch.addcmul(gradient, lam, d, value=-1)
    return torch.sub(gradient, d, alpha=lam)


def damped_least_squares(
    A: Linear, adjoint: Linear, y: Tensor, lam: float | Tensor, iterations: int, tolerance: float
) -> Tensor:
    """The minimiser of ||y - A d||^2 + lam ||d||^2 by CGLS, started at d = 0.

    CGLS never forms A^T A, which keeps the accuracy of float32 where plain conjugate gradients on the normal
    equations lose half of it. All iterates lie in the range of A^T: for lam = 0 the limit is the
    pseudo-inverse.

    Args:
        A: (B, ...) -> (B, ...), samples independent.
        adjoint: its transpose.
        y: (B, ...) data.
        lam: weight of the damping, >= 0; one number, or (B, 1, ..., 1).
        iterations: upper limit.
        tolerance: a sample stops once its gradient norm has fallen by this factor.

    Returns:
        (B, ...) the minimisers.
    """
    residual, direction = y.clone(), adjoint(y)  # a copy, for it is changed in place
    d, energy = torch.zeros_like(direction), dot(direction, direction)
    goal, active = tolerance**2 * energy, energy > 0
    for _ in range(iterations):
        image = A(direction)
        step = _ratio(energy, dot(image, image) + per_sample(lam) * dot(direction, direction), active)
        d = _advanced(d, step, direction)
        residual = _advanced(residual, -step, image)
        del image
        gradient = _damped(adjoint(residual), d, lam)
        previous, energy = energy, dot(gradient, gradient)
        active = active & (energy > goal)
        if not bool(active.any()):
            break
        direction = _advanced(gradient, _ratio(energy, previous, active), direction)
        del gradient
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
