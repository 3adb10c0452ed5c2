"""Levels by their ratio of noise to signal, which samplers in the variance-exploding scale ask for."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Literal

from treg_exp.errors import FieldError
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.levels import Level, Schedule
from treg_exp.schedule.sigma import Karras
from treg_exp.schedule.variance_preserving import VariancePreserving

Times = Literal["table", "continuous"]


def level_of_ratio(schedule: Schedule, ratio: float, times: Times = "table") -> Level:
    """The level whose sigma / alpha is ``ratio``; 0 is the clean end.

    Args:
        schedule: of the prior.
        ratio: noise per signal, >= 0.
        times: how a table of alphas gives the time that the network is told: ``table`` interpolates it, ``continuous``
            takes the stochastic differential equation of a table whose sqrt(beta) is linear (Stable Diffusion), as
            DAPS does.

    Raises:
        FieldError: a schedule of another family.
    """
    if isinstance(schedule, Karras):
        return Level(math.log(ratio) / 4 if ratio else -math.inf, 1.0, ratio)
    if isinstance(schedule, Flow):
        sigma = ratio / (1 + ratio)
        return Level(sigma * schedule.train_timesteps, 1 - sigma, sigma)
    if not isinstance(schedule, VariancePreserving):
        raise FieldError("prior", type(schedule).__name__, "its schedule does not tell the time of a noise level")
    alpha = 1 / math.sqrt(1 + ratio**2)
    if not ratio:
        return Level(-1, 1.0, 0.0)
    find = _continuous_time if times == "continuous" else _table_time
    return Level(find(schedule.alphas_cumprod, ratio), alpha, ratio * alpha)


def _table_time(alphas_cumprod: Sequence[float], ratio: float) -> float:
    """Between two entries, linear in log(sigma / alpha); the ends of the table beyond them."""
    table = [math.log((1 - a) / a) / 2 for a in alphas_cumprod if 0 < a < 1]
    wanted = math.log(ratio)
    above = bisect.bisect_left(table, wanted)
    if above == 0:
        return 0.0
    if above == len(table):
        return float(len(table) - 1)
    low, high = table[above - 1], table[above]
    return above - 1 + (wanted - low) / (high - low)


def _continuous_time(alphas_cumprod: Sequence[float], ratio: float) -> float:
    """T u with 1 + ratio^2 = exp(((a u + b)^3 - b^3) / (3 a)), b = sqrt(T beta_1) and a + b = sqrt(T beta_T).

    The two betas are rounded to 4 digits: a table in float32 holds no more of them, and they were typed in.
    """
    count = len(alphas_cumprod)
    first, last = (float(f"{1 - a:.4g}") for a in (alphas_cumprod[0], alphas_cumprod[-1] / alphas_cumprod[-2]))
    b = math.sqrt(count * first)
    a = math.sqrt(count * last) - b
    return float(count * ((3 * a * math.log1p(ratio**2) + b**3) ** (1 / 3) - b) / a)
