"""Guidance rules: how the predictions for the prompt and for the null text become one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.text.condition import TextCondition


class Guidance(Protocol):
    """A rule that asks the network and mixes its answers."""

    def check(self, info: PriorInfo) -> None:
        """Raise FieldError where the prior lacks what the rule needs."""
        ...

    def predict(self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition) -> Prediction:
        """Guided estimates at one level: z_0 is the signal's estimate, eps what the move adds noise along.

        They need not belong together: CFG++ takes z_0 from the guided answer and eps from the null text's.
        """
        ...


@dataclass(frozen=True)
class ConstantGuidance:
    """Classifier-free guidance with one scale: null + scale * (prompt - null) (Ho and Salimans, 2022).

    Attributes:
        scale: 1 is the prompt alone and 0 the null text alone (one network evaluation each); others cost two.
    """

    scale: float = 2.0

    def __post_init__(self) -> None:
        if self.scale < 0:
            raise FieldError("scale", self.scale, "must be >= 0 (0 = null text only, 1 = prompt only)")

    def check(self, info: PriorInfo) -> None:
        """Nothing is needed."""

    def predict(self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition) -> Prediction:
        """See :class:`Guidance`."""
        if self.scale == 1:
            return prior.predict(z_t, level, text.prompt)
        if self.scale == 0:
            return prior.predict(z_t, level, text.null)
        both = prior.predict(torch.cat([z_t, z_t]), level.tiled(2), TextEmbedding.cat([text.null, text.prompt]))
        return Prediction(self._mixed(both.z_0), self._mixed(both.eps))

    def _mixed(self, both: Tensor) -> Tensor:
        null, prompt = both.chunk(2)
        return null + self.scale * (prompt - null)
