"""Moving the part of a null text that lies in the space of the image features."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import PairedTowers, Prior
from treg_exp.text.condition import TextCondition
from treg_exp.text.state import StepState


def check_image_features(rule: object, info: PriorInfo) -> None:
    """Refuse a prior without image features.

    Raises:
        FieldError: it has none; the message names the rule.
    """
    if info.feature_width is None:
        raise FieldError(
            "", type(rule).__name__, "needs image features, and the prior was given no image encoder: its folder has "
            "no image_encoder/, or image_encoder is false; give it an open_clip model of the width of its text "
            "(docs/stable_diffusion.md) or the image_encoder of a prior with the same text encoder, or use a fixed "
            "null text"
        )  # fmt: skip


class ImageSpaceNegation(ABC):
    """Rules that compare the tokens of the null text with the image feature of x_y.

    With several text encoders (SDXL) only the one as wide as the feature is moved. The columns of the others and the
    pooled row stay: the feature lies in no space of theirs.
    """

    def check(self, info: PriorInfo) -> None:
        """One text encoder must be as wide as the image features, and share their space."""
        check_image_features(self, info)
        width, layout = info.feature_width, info.text_layout
        if layout is None or width is None or layout.comparable(width) is None:
            widths = " + ".join(map(str, layout.widths)) if layout else "none"
            raise FieldError(
                "", type(self).__name__, "compares image features with null-text embeddings, but their widths differ: "
                f"{width} and {widths}; use a fixed null text"
            )  # fmt: skip

    @torch.no_grad()
    def update(self, prior: Prior, text: TextCondition, state: StepState) -> TextCondition:
        """See ``NullText``."""
        assert prior.image_text is not None, "check() refuses a prior without image features"
        feature = prior.image_text.image_features(state.x_y)[:, None, :]  # (B, 1, F), the same for every token
        span = text.null.layout.comparable(feature.shape[-1])
        assert span is not None, "check() refuses widths that differ"
        part = (slice(None), span.rows, span.columns)
        tokens = text.null.tokens.clone()
        tokens[part] = self.moved(prior.image_text, tokens[part], feature, text.first_null.tokens[part], state)
        return text.with_null(text.null.with_tokens(tokens))

    @abstractmethod
    def moved(self, encoder: PairedTowers, tokens: Tensor, feature: Tensor, first: Tensor, state: StepState) -> Tensor:
        """The tokens of the next step.

        Args:
            encoder: of the prior; its ``project`` takes tokens to where features are.
            tokens: (B, L, F) of the null text now.
            feature: (B, 1, F) normalised image feature of x_y.
            first: (B, L, F) of the null text as the run began.
            state: of the step.
        """
