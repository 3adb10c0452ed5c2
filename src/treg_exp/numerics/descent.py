"""Gradient descent with one step size per sample, for data terms that are not quadratic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

GROW, SHRINK = 1.5, 0.5  # of a step that lowered the objective, and of one that did not


def gradient_descent(
    objective: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, step: float | Tensor, iterations: int
) -> Tensor:
    """Lowers an objective, per sample and never upwards: a step that raises it is not taken and tried shorter.

    Args:
        objective: (B, ...) -> its value (B,) and gradient (B, ...); samples must not influence each other.
        start: (B, ...) first point.
        step: first step size, or one per sample, (B,); one over the largest curvature never overshoots.
        iterations: evaluations after the first.

    Returns:
        (B, ...) the best point of each sample.
    """
    x, axes = start.clone(), (-1, *(1,) * (start.dim() - 1))
    value, gradient = objective(x)
    steps = torch.ones_like(value) * step
    for _ in range(iterations):
        trial = x - steps.to(x).view(axes) * gradient
        trial_value, trial_gradient = objective(trial)
        better = trial_value <= value  # False where the trial is not finite
        torch.where(better.view(axes), trial, x, out=x)  # in place, for memory counts here
        torch.where(better.view(axes), trial_gradient, gradient, out=gradient)
        del trial, trial_gradient
        value = torch.where(better, trial_value, value)
        steps = steps * torch.where(better, GROW, SHRINK)
    return x
