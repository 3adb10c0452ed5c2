"""Adaptive negation of TReg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_at_least, check_choices, check_positive
from treg_exp.priors.prior import PairedTowers
from treg_exp.text.null_text.image_space import ImageSpaceNegation
from treg_exp.text.state import StepState

Method = Literal["closed_form", "adam"]


@dataclass(frozen=True)
class AdaptiveNegation(ImageSpaceNegation):
    """Adaptive negation of TReg: move the null text away from what the image already shows.

    Minimises L(c) = mean over tokens of <f, c_j> with f the normalised image feature of x_y. L is linear, so the
    gradient g = f / L is constant, Adam's corrected moments are g and g^2 at every iteration, and ``iterations``
    steps are exactly c_j - iterations * lr * g / (|g| + adam_eps).

    Attributes:
        text: the null text at the start.
        lr: Adam's learning rate per iteration, in units of the embedding (released code: 1e-3; its command line 8e-4).
        iterations: Adam iterations per update, with a fresh state each time (released code: 10).
        method: ``closed_form``, or ``adam`` to run the optimiser explicitly.
        adam_eps: Adam's epsilon (PyTorch's default 1e-8).
    """

    text: str = ""
    lr: float = 1e-3
    iterations: int = 10
    method: Method = "closed_form"
    adam_eps: float = 1e-8

    def __post_init__(self) -> None:
        check_at_least(self, 0, "lr")
        if not 0 <= self.iterations <= 100_000:
            raise FieldError("iterations", self.iterations, "must be in [0, 100000]")
        check_positive(self, "adam_eps")
        check_choices(self, method=Method)

    def moved(self, encoder: PairedTowers, tokens: Tensor, feature: Tensor, first: Tensor, state: StepState) -> Tensor:
        """See :class:`ImageSpaceNegation`."""
        if self.method == "adam":
            return self._descend(tokens, feature)
        gradient = feature / tokens.shape[1]
        return tokens - self.iterations * self.lr * gradient / (gradient.abs() + self.adam_eps)

    @torch.enable_grad()
    def _descend(self, tokens: Tensor, feature: Tensor) -> Tensor:
        """The optimiser, step by step. Adam is elementwise, so the sum over samples keeps them independent."""
        tokens = tokens.detach().clone().requires_grad_()
        optimiser = torch.optim.Adam([tokens], lr=self.lr, eps=self.adam_eps)
        for _ in range(self.iterations):
            optimiser.zero_grad()
            (feature * tokens).sum(-1).mean(-1).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return tokens.detach()
