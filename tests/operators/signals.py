"""Signals for tests, and what autograd says of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.operators.base import Operator


def smooth(shape: tuple[int, ...], count: int = 1, seed: int = 0) -> Tensor:
    """(count, *shape) between a few drawn values in [-1, 1]: images from 9 x 9 of them, recordings from 9."""
    stream = torch.Generator().manual_seed(seed)
    if len(shape) == 3 and shape[0] == 3:
        coarse = torch.rand(count, 3, 9, 9, generator=stream) * 2 - 1
        return F.interpolate(coarse, shape[1:], mode="bilinear", align_corners=True)
    coarse = torch.rand(count, math.prod(shape[:-1]), 9, generator=stream) * 2 - 1
    return F.interpolate(coarse, shape[-1:], mode="linear", align_corners=True).view(count, *shape)


def by_autograd(operator: Operator, y: Tensor, x: Tensor) -> Tensor:
    """Gradient of half the squared residual by autograd, for one that an operator has in closed form."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(operator.residual(y, x).double().square().sum() / 2, x)
    return gradient
