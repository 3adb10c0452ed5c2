"""AdamW for a batch of independent problems, each with its own stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_at_least, check_positive
from treg_exp.numerics.leaf import leaf_gradient
from treg_exp.numerics.per_sample import beside


@dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov and Hutter, 1711.05101) as ``torch.optim`` has it, but every sample stops for itself.

    Attributes:
        lr: learning rate, in units of what is optimised.
        iterations: most iterations, >= 0.
        betas: decay of the two moments, each in [0, 1).
        eps: added to the root of the second moment.
        weight_decay: share of lr that values shrink by per iteration; 0 is Adam.
        stop: loss below which a sample stops; None is what the caller says, which may be never.
        plateau: a sample also stops once its loss is above that of so many iterations before; None never.
        lr_end: learning rate that a cosine ends at; None keeps lr.
    """

    lr: float
    iterations: int
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    stop: float | None = None
    plateau: int | None = None
    lr_end: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        if isinstance(self.iterations, bool) or not 0 <= self.iterations <= 100_000:
            raise FieldError("iterations", self.iterations, "must be an integer in [0, 100000]")
        check_at_least(self, 0, "lr", "weight_decay")
        check_positive(self, "eps")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise FieldError("betas", self.betas, "must be two numbers in [0, 1)")
        if self.stop is not None and not self.stop > 0:
            raise FieldError("stop", self.stop, "must be > 0, or null")
        if self.plateau is not None and self.plateau < 1:
            raise FieldError("plateau", self.plateau, "must be >= 1, or null")
        if self.lr_end is not None and not 0 <= self.lr_end <= self.lr:
            raise FieldError("lr_end", self.lr_end, f"must be in [0, lr={self.lr}], or null")

    @torch.no_grad()
    def minimise(
        self, loss: Callable[[Tensor], Tensor], start: Tensor, stop_below: float | Tensor = -math.inf,
        after: Callable[[int, Tensor], None] | None = None, scale: float = 1.0,
    ) -> Tensor:  # fmt: skip
        """Lower a loss from ``start``.

        Args:
            loss: (B, ...) -> (B,); samples must not influence each other.
            start: (B, ...) first point.
            stop_below: a sample stops after the step that began with a loss below this value, unless ``stop`` says
                another; one number, or (B,). A loss may be negative, so without a value none stops.
            after: called with the number of each iteration and the point that it led to.
            scale: see ``leaf_gradient``.

        Returns:
            (B, ...) the last point of each sample, outside the graph.
        """
        x, limit = start.detach().clone(), stop_below if self.stop is None else self.stop
        first, second = torch.zeros_like(x), torch.zeros_like(x)
        active, history = torch.ones(len(x), dtype=torch.bool, device=x.device), list[Tensor]()
        for index in range(self.iterations):
            gradient, value, _ = leaf_gradient(lambda z: (loss(z), None), x, scale)
            first.lerp_(gradient, 1 - self.betas[0])
            second.mul_(self.betas[1]).addcmul_(gradient, gradient, value=1 - self.betas[1])
            moved = self._step(index, x, first, second)
            x = torch.where(beside(active, x), moved, x)
            if after is not None:
                after(index, x)
            active = active & ~(value < limit)
            if self.plateau is not None:
                if index >= self.plateau:
                    active = active & ~(value > history[index - self.plateau])
                history.append(value)
            if not bool(active.any()):
                break
        return x

    def _step(self, index: int, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        lr, (beta_1, beta_2) = self._rate(index), self.betas
        root = second.sqrt() / math.sqrt(1 - beta_2 ** (index + 1)) + self.eps
        return torch.addcdiv(x * (1 - lr * self.weight_decay), first, root, value=-lr / (1 - beta_1 ** (index + 1)))

    def _rate(self, index: int) -> float:
        """Of an iteration; the cosine is that of ``CosineAnnealingLR`` over all iterations."""
        if self.lr_end is None:
            return self.lr
        return self.lr_end + (self.lr - self.lr_end) * (1 + math.cos(math.pi * index / self.iterations)) / 2
