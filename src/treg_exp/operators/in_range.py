"""The proximal step within [-1, 1]: values outside cannot be shown or saved, and clamping them undoes the fit."""

from __future__ import annotations

from torch import Tensor

from treg_exp.operators.base import Operator
from treg_exp.operators.checks import check_ridge
from treg_exp.operators.methods import EXACT, ProxMethod


def prox_in_range(
    operator: Operator,
    y: Tensor,
    x0: Tensor,
    lam: float | Tensor,
    method: ProxMethod = EXACT,
    iterations: int = 20,
    penalty: float = 0.1,
) -> Tensor:
    """The proximal step argmin ||y - A x||^2 + lam ||x - x0||^2 over -1 <= x <= 1, by ADMM.

    After Boyd et al., "Distributed optimization and statistical learning via ADMM", Foundations and Trends 2011.
    In scaled form, with rho = penalty ||A||^2: x is a proximal step towards x0 and z - u, z the clamped x + u, and the
    running sum u of what clamping took away.

    Args:
        operator: linear; the problem is convex then.
        y: (B, *measurement_shape) measurements.
        x0: (B, *signal_shape) signals to stay close to.
        lam: weight >= 0, or one per sample, (B,), as of ``Operator.prox``.
        method: how each proximal step is solved.
        iterations: of ADMM; 0 is one clamped proximal step.
        penalty: > 0, in units of ||A||^2; it changes how fast the iterations converge, not where to.

    Returns:
        (B, *signal_shape) float32 in [-1, 1].
    """
    if not iterations or operator.norm_sq == 0:  # the clamped step is the minimiser where A is 0
        return operator.prox(y, x0, lam, method).clamp(-1, 1)
    lam, rho = check_ridge(lam, x0), penalty * operator.norm_sq
    z, u = x0, x0.new_zeros(x0.shape)
    for _ in range(iterations):
        x = operator.prox(y, (lam * x0 + rho * (z - u)) / (lam + rho), lam + rho, method)
        z = (x + u).clamp(-1, 1)
        u = u + x - z
    return z
