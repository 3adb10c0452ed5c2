"""Negation against named things: "not a tomato"."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.text.condition import TextCondition
from treg_exp.text.null_text.image_space import check_image_features
from treg_exp.text.state import StepState


@dataclass(frozen=True)
class NegatedConcepts:
    """The null text becomes the named things that the image resembles and the prompt does not mean.

    At a data step every concept has the weight softmax(<f, h> / temperature), with f the feature of x_y and h that of
    the concept's text; a concept that is the prompt itself has none. The null text is
    (1 - strength) first + strength * sum of weight * embedding.

    Attributes:
        concepts: texts of what is not meant, at least one.
        strength: how much of the null text they make up, in [0, 1].
        temperature: of the softmax over cosines; CLIP's own logit scale of 100 is a temperature of 0.01. Small numbers
            take the nearest concept alone, large ones all alike.
        text: the null text at the start.
    """

    concepts: list[str] = field(default_factory=list)
    strength: float = 1.0
    temperature: float = 0.01
    text: str = ""

    def __post_init__(self) -> None:
        if not self.concepts or not all(isinstance(concept, str) and concept for concept in self.concepts):
            raise FieldError("concepts", self.concepts, "must be a list of texts, as ['a tomato', 'a ball']")
        if not 0 <= self.strength <= 1:
            raise FieldError("strength", self.strength, "must be in [0, 1]")
        if not self.temperature > 0:
            raise FieldError("temperature", self.temperature, "must be > 0")

    def check(self, info: PriorInfo) -> None:
        """Concepts are weighed by image features."""
        check_image_features(self, info)
        if info.text_layout is None:
            raise FieldError("", type(self).__name__, "needs a prior with a text encoder")

    @torch.no_grad()
    def update(self, prior: Prior, text: TextCondition, state: StepState) -> TextCondition:
        """See ``NullText``."""
        assert prior.image_text is not None, "check() refuses a prior without image features"
        assert prior.text is not None, "check() refuses a prior without text"
        embedded = prior.text.embed(self.concepts)  # (K, L, D)
        similar = prior.image_text.image_features(state.x_y) @ prior.image_text.text_features(self.concepts).T
        weights = self._weights(similar, text)
        null = text.first_null.blended(embedded, self.strength * weights)
        return text.with_null(null)

    def _weights(self, similar: Tensor, text: TextCondition) -> Tensor:
        """(B, K) weights of the concepts; all zero where the prompt is the only one."""
        meant = torch.tensor(
            [[concept == words["prompt"] for concept in self.concepts] for words in text.words], device=similar.device
        )
        logits = (similar / self.temperature).masked_fill(meant, -torch.inf)
        return logits.softmax(-1).nan_to_num(0.0)
