"""Null-text rules: what guidance pushes away from, and how it follows the image that is forming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from treg_exp.priors.base import Prior
from treg_exp.types import TextCondition

Method = Literal["closed_form", "adam"]


class HasWidths(Protocol):
    """A prior, or what is known of one before its weights are loaded."""

    @property
    def text_width(self) -> int:
        """Width of the text embedding."""
        ...

    @property
    def feature_width(self) -> int | None:
        """Width of the image features; None where the prior has none."""
        ...


class NullText(Protocol):
    """A null text and its update."""

    @property
    def text(self) -> str:
        """The null text at the start."""
        ...

    def check(self, prior: HasWidths) -> None:
        """Raise ValueError where the prior lacks what the rule needs."""
        ...

    def update(self, prior: Prior, text: TextCondition, x_y: Tensor) -> TextCondition:
        """The condition of the next step, given the data-consistent image x_y (B, 3, H, W)."""
        ...


@dataclass(frozen=True)
class FixedNullText:
    """A null text that never changes: the empty one, or a negative prompt.

    Attributes:
        text: e.g. "out of focus, depth of field".
    """

    text: str = ""

    def check(self, prior: HasWidths) -> None:
        """Nothing is needed."""

    def update(self, prior: Prior, text: TextCondition, x_y: Tensor) -> TextCondition:
        """The same condition."""
        return text


@dataclass(frozen=True)
class AdaptiveNegation:
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
        if self.lr < 0:
            raise ValueError(f"lr={self.lr}: must be >= 0")
        if self.iterations < 0:
            raise ValueError(f"iterations={self.iterations}: must be >= 0")
        if self.method not in get_args(Method):
            raise ValueError(f"method={self.method}: allowed are {', '.join(get_args(Method))}")

    def check(self, prior: HasWidths) -> None:
        """The image feature must have the width of the text embedding."""
        if prior.feature_width is None:
            raise ValueError(
                "null_text=negation needs image features, and this prior has no image_encoder/; "
                "use null_text=off or null_text=fixed"
            )
        if prior.feature_width != prior.text_width:
            raise ValueError(
                f"null_text=negation compares image features with null-text embeddings, but their widths differ: "
                f"{prior.feature_width} and {prior.text_width}; use null_text=off or null_text=fixed"
            )

    @torch.no_grad()
    def update(self, prior: Prior, text: TextCondition, x_y: Tensor) -> TextCondition:
        """See :class:`NullText`."""
        self.check(prior)
        assert prior.clip is not None  # check() has seen to it
        feature = prior.clip.image_features(x_y)[:, None, :]  # (B, 1, D), the same for every token
        if self.method == "adam":
            return text.with_null(self._descend(text.null, feature))
        gradient = feature / text.null.shape[1]
        return text.with_null(text.null - self.iterations * self.lr * gradient / (gradient.abs() + self.adam_eps))

    @torch.enable_grad()
    def _descend(self, null: Tensor, feature: Tensor) -> Tensor:
        """The optimiser, step by step. Adam is elementwise, so the sum over samples keeps them independent."""
        null = null.detach().clone().requires_grad_()
        optimiser = torch.optim.Adam([null], lr=self.lr, eps=self.adam_eps)
        for _ in range(self.iterations):
            optimiser.zero_grad()
            (feature * null).sum(-1).mean(-1).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return null.detach()
