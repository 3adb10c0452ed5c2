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
        """The guided estimates ``at`` one level, moved towards the prompt."""
        ...


@dataclass(frozen=True)
class NoTextMatch:
    """Nothing pulls."""

    def check(self, info: PriorInfo) -> None:
        """Nothing is needed."""

    def pull(self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition, at: Prediction) -> Prediction:
        """The same estimates."""
        return at
