"""Text match: a pull on the estimate towards what an image-text encoder takes for the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.text.condition import TextCondition


class TextMatch(Protocol):
    """A gradient of an image-text score on the estimate."""

    def check(self, info: PriorInfo) -> None:
        """Raise FieldError where the prior lacks what the rule needs."""
        ...

    def pull(self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition, at: Prediction) -> Prediction:
        """The guided estimates ``at`` one level, moved towards the prompt.

        Args:
            prior: its ``image_text`` scores, its codec decodes.
            z_t: (B, *latent_shape) noisy latents that ``at`` was estimated from, outside any graph.
            level: of z_t.
            text: what is told; ``text.words`` are the texts that ``image_text`` can embed.
            at: the guided estimates, (B, *latent_shape).
        """
        ...


@dataclass(frozen=True)
class NoTextMatch:
    """Nothing pulls."""

    def check(self, info: PriorInfo) -> None:
        """Nothing is needed."""

    def pull(self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition, at: Prediction) -> Prediction:
        """The same estimates."""
        return at
