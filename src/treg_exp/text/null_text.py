"""Null-text rules: what guidance pushes away from, and how it follows the signal that is forming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.text.condition import TextCondition

Method = Literal["closed_form", "adam"]


class NullText(Protocol):
    """A null text and its update."""

    @property
    def text(self) -> str:
        """The null text at the start."""
        ...

    def check(self, info: PriorInfo) -> None:
        """Raise FieldError where the prior lacks what the rule needs."""
        ...

    def update(self, prior: Prior, text: TextCondition, x_y: Tensor) -> TextCondition:
        """The condition of the next step, given the data-consistent signal x_y (B, *signal_shape)."""
        ...


@dataclass(frozen=True)
class FixedNullText:
    """A null text that never changes: the empty one, or a negative prompt.

    Attributes:
        text: e.g. "out of focus, depth of field".
    """

    text: str = ""

    def check(self, info: PriorInfo) -> None:
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
            raise FieldError("lr", self.lr, "must be >= 0")
        if not 0 <= self.iterations <= 100_000:
            raise FieldError("iterations", self.iterations, "must be in [0, 100000]")
        if not self.adam_eps > 0:
            raise FieldError("adam_eps", self.adam_eps, "must be > 0")
        if self.method not in get_args(Method):
            raise FieldError("method", self.method, f"allowed are {', '.join(get_args(Method))}")

    def check(self, info: PriorInfo) -> None:
        """One text encoder must be as wide as the image features, and share their space."""
        name, width, layout = type(self).__name__, info.feature_width, info.text_layout
        if width is None:
            raise FieldError(
                "", name, "needs image features, and the prior was given no image encoder: its folder has no "
                "image_encoder/, or image_encoder is false; give it an open_clip model of the width of its text "
                "(docs/stable_diffusion.md), or use a fixed null text"
            )  # fmt: skip
        if layout is None or layout.comparable(width) is None:
            widths = " + ".join(map(str, layout.widths)) if layout else "none"
            raise FieldError(
                "", name, "compares image features with null-text embeddings, but their widths differ: "
                f"{width} and {widths}; use a fixed null text"
            )  # fmt: skip

    @torch.no_grad()
    def update(self, prior: Prior, text: TextCondition, x_y: Tensor) -> TextCondition:
        """See :class:`NullText`. With several text encoders (SDXL) only the one as wide as the feature is moved.

        The columns of the others and the pooled row stay: the feature lies in no space of theirs.
        """
        assert prior.image_text is not None, "check() refuses a prior without image features"
        feature = prior.image_text.image_features(x_y)[:, None, :]  # (B, 1, F), the same for every token
        span = text.null.layout.comparable(feature.shape[-1])
        assert span is not None, "check() refuses widths that differ"
        moved = text.null.tokens.clone()
        moved[:, span.rows, span.columns] = self._move(moved[:, span.rows, span.columns], feature)
        return text.with_null(text.null.with_tokens(moved))

    def _move(self, null: Tensor, feature: Tensor) -> Tensor:
        if self.method == "adam":
            return self._descend(null, feature)
        gradient = feature / null.shape[1]
        return null - self.iterations * self.lr * gradient / (gradient.abs() + self.adam_eps)

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
