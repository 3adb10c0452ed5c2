"""Moves of second order, from the estimate of the step before."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.schedule.levels import Level, Move, Prediction

ORDERS = (1, 2)


@dataclass(frozen=True)
class Estimate:
    """What the network believed at an earlier level.

    Attributes:
        level: the earlier level.
        z_0: (B, *latent_shape) the estimate there.
    """

    level: Level
    z_0: Tensor


def extrapolated(move: Move, at: Prediction, last: Estimate | None) -> Prediction:
    """The estimates that make ``move`` one of second order: DPM-Solver++(2M) (Lu et al., 2211.01095, algorithm 2).

    z_0 moves on as it has since the last step, in log(alpha / sigma), and eps is the noise that belongs to it. Of first
    order, and ``at`` itself, where there is no last step and at both ends of the schedule, where the logarithm is not
    finite (a flow begins there).

    Args:
        move: the move to be made, between levels that are numbers.
        at: the estimates at its beginning.
        last: the estimate of the step before.
    """
    if last is None:
        return at
    before, now, after = (_log_ratio(level) for level in (last.level, move.now, move.next))
    if not (math.isfinite(now - before) and math.isfinite(after - now) and now > before):
        return at
    change = (after - now) / (2 * (now - before)) * (at.z_0 - last.z_0)
    return Prediction(at.z_0 + change, at.eps - move.now.alpha / move.now.sigma * change)


def check_order(order: int) -> None:
    """Raise FieldError unless the order is 1 or 2."""
    if order not in ORDERS:
        raise FieldError("order", order, "must be 1 (DDIM) or 2 (DPM-Solver++(2M))")


def _log_ratio(level: Level) -> float:
    """log(alpha / sigma), infinite at the ends of a schedule."""
    alpha, sigma = float(level.alpha), float(level.sigma)
    if alpha <= 0 or sigma <= 0:
        return -math.inf if alpha <= 0 else math.inf
    return math.log(alpha / sigma)
