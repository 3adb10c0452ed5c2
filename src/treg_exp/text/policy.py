"""Everything that text does to a restoration, handed to a solver as one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from treg_exp.priors.base import Prior
from treg_exp.schedule import Point
from treg_exp.text.guidance import ConstantGuidance, Guidance, Guided
from treg_exp.text.null_text import FixedNullText, NullText
from treg_exp.types import TextCondition


@dataclass(frozen=True)
class TextPolicy:
    """Guidance rule plus null-text rule.

    Attributes:
        guidance: how the two predictions are mixed.
        null_text: what stands against the prompt.
    """

    guidance: Guidance = field(default_factory=ConstantGuidance)
    null_text: NullText = field(default_factory=FixedNullText)

    def start(self, prior: Prior, prompts: Sequence[str]) -> TextCondition:
        """Embed one prompt per sample; each distinct text is embedded once."""
        texts = sorted({*prompts, self.null_text.text})
        table = dict(zip(texts, prior.embed(texts), strict=True))
        prompt = [table[p] for p in prompts]
        return TextCondition(torch.stack(prompt), torch.stack([table[self.null_text.text]] * len(prompts)))

    def predict(self, prior: Prior, z_t: Tensor, point: Point, text: TextCondition) -> Guided:
        """Guided noise estimates at one noise level."""
        return self.guidance.predict(prior, z_t, point, text)

    def update(self, prior: Prior, text: TextCondition, x_y: Tensor) -> TextCondition:
        """The text of the next step, given the data-consistent image x_y (B, 3, H, W)."""
        return self.null_text.update(prior, text, x_y)
