"""Gradients of one loss per sample, from a fresh leaf each time.

A loss has one value per sample, and what is differentiated is their sum: samples share no parameter, so each gets the
gradient that it would get alone. A norm over the whole batch, as in most official codes, does not have that property.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Kept = TypeVar("Kept")


def norms(x: Tensor) -> Tensor:
    """Euclidean norm of every sample, (B, ...) -> (B,); its gradient is a unit vector, and 0 where x is 0."""
    length: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return length


def squares(x: Tensor) -> Tensor:
    """Sum of squares of every sample, (B, ...) -> (B,)."""
    return x.flatten(1).square().sum(1)


@torch.enable_grad()
def leaf_gradient(
    loss: Callable[[Tensor], tuple[Tensor, Kept]], at: Tensor, scale: float = 1.0
) -> tuple[Tensor, Tensor, Kept]:
    """Gradient of a loss per sample, at a point that is cut from every graph before.

    Args:
        loss: (B, ...) -> its value (B,), and whatever of the way there is of use afterwards.
        at: (B, ...) the point.
        scale: the loss is multiplied by it on the way back through the networks, and the gradient divided afterwards:
            that of a mean over many numbers would vanish in half precision.

    Returns:
        Gradient (B, ...) and value (B,), both outside the graph, and what the loss kept, which is not.
    """
    leaf = at.detach().requires_grad_()
    values, kept = loss(leaf)
    (gradient,) = torch.autograd.grad(scale * values.sum(), leaf)
    return gradient / scale, values.detach(), kept
