"""Stopping at the noise: the weight of a proximal step at which its residual is that of the noise alone.

The discrepancy principle: Morozov, "On the solution of functional equations by the method of regularization", Soviet
Math. Doklady 7, 1966; Engl, Hanke and Neubauer, "Regularization of Inverse Problems", 1996, section 4.3. A signal that
fits a measurement more closely than its noise also fits the noise; among those that fit it as closely as the noise
allows, the one nearest to the estimate is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from treg_exp.numerics.cg import dot
from treg_exp.numerics.per_sample import beside
from treg_exp.operators.base import Operator

#: Relative distance from the target at which the search ends: far below the spread of the noise's own residual,
#: 1 / sqrt(2 n) of n measured numbers, which is 1 % for 5000 of them.
TOLERANCE = 0.01
#: Relative distance at which the first weight is kept. A blur's residual hardly depends on lambda near the noise: on
#: `gaussian_deblur`, from 0.98 to 1.006 sigma lambda grows several times and 0.2 dB of PSNR are lost.
NEAR = 0.1
#: Most proximal steps per search. Operators with one singular value take 1 to 3, blurs 3 to 6.
EVALUATIONS = 12
#: The largest error that an estimate in [-1, 1] can have; a weight that expects more makes no sense.
RANGE = 2.0
#: Limits of d log(odds) / d log(lambda) in a secant step: it is 1 where all singular values are alike.
SLOPES = (0.05, 2.0)


def rmse(operator: Operator, y: Tensor, x: Tensor) -> Tensor:
    """Root mean square of y - A(x) over the measured entries, per sample: (B,), nan where nothing is measured."""
    error = y - operator.A(x)
    count = operator.measured().expand_as(error).flatten(1).sum(1)
    return (dot(error, error) / count).sqrt()


def at_residual(
    operator: Operator,
    y: Tensor,
    x0: Tensor,
    target: float,
    step: Callable[[Tensor], Tensor],
    first: float,
    tolerance: float = TOLERANCE,
    near: float = NEAR,
    evaluations: int = EVALUATIONS,
) -> Tensor:
    """The proximal step whose residual is ``target``, by a weight of its own for every sample.

    The residual r grows with lambda, from that of the best fit to r0, that of ``x0``. Where all singular values of A
    are s, r / (r0 - r) = lambda / s^2: a secant method on the logarithms of both sides, kept within the bracket found
    so far, takes few steps. Lambda is at least ||A||^2 (target / 2)^2, the weight for an estimate as
    wrong as the range allows; where not even that reaches the target, the closest result found is returned.

    Args:
        operator: linear.
        y: (B, *measurement_shape) measurements.
        x0: (B, *signal_shape) estimates; a sample whose residual is at most the target is only clamped.
        target: root mean square residual > 0, in the units of y.
        step: the proximal step towards ``x0`` for weights (B,), within [-1, 1].
        first: the weight that is tried first, and kept where its residual is ``near`` the target.
        tolerance: relative distance from the target at which a sample's search ends.
        near: the same for ``first``.
        evaluations: most calls of ``step``.

    Returns:
        (B, *signal_shape) float32 in [-1, 1].
    """
    best = x0.to(torch.float32).clamp(-1, 1)
    if operator.norm_sq == 0:
        return best
    start = rmse(operator, y, best)
    searching = start > target * (1 + tolerance)
    distance = (start / target).log().abs()
    goal = _log_odds(torch.full_like(start, target), start)
    floor = math.log(operator.norm_sq) + 2 * math.log(target / RANGE)
    low, high = torch.full_like(start, floor), torch.full_like(start, math.inf)
    at = torch.full_like(start, max(math.log(first), floor) if first > 0 else floor)
    slope, before = torch.ones_like(start), None
    for index in range(evaluations):
        if not bool(searching.any()):
            break
        x = step(at.exp())
        found = rmse(operator, y, x)
        gap, closeness = _log_odds(found, start) - goal, (found / target).log().abs()
        better = searching & (closeness < distance)
        best = torch.where(beside(better, x), x, best)
        distance = torch.where(better, closeness, distance)
        over = found > target
        reached = (found / target - 1).abs() <= (tolerance if index else near)
        searching = searching & ~reached & ~(over & (at <= floor))
        low, high = torch.where(over, low, at), torch.where(over, at, high)
        if before is not None:
            slope = ((gap - before[1]) / (at - before[0])).nan_to_num(1.0).clamp(*SLOPES)
        before = at, gap
        at = (at - gap / slope).clamp(min=floor)
        at = torch.where((at < low) | (at >= high), (low + high) / 2, at)
    return best


def _log_odds(residual: Tensor, start: Tensor) -> Tensor:
    """Log r / (r0 - r), finite also where r is 0 or not below r0."""
    share = (residual / start).nan_to_num(0.5).clamp(1e-6, 1 - 1e-6)
    return share.logit()
