"""The contract of guidance rules, and what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Number, Prediction
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


def answers(prior: Prior, z_t: Tensor, level: Level, texts: Sequence[TextEmbedding]) -> list[Prediction]:
    """Estimates for each of several texts, from one call of the network."""
    told = TextEmbedding.cat(list(texts))
    at = prior.predict(torch.cat([z_t] * len(texts)), level.tiled(len(texts)), told)
    return [Prediction(*of_one) for of_one in zip(at.z_0.chunk(len(texts)), at.eps.chunk(len(texts)), strict=True)]


def both_answers(prior: Prior, z_t: Tensor, level: Level, text: TextCondition) -> tuple[Prediction, Prediction]:
    """Estimates for the null text and for the prompt, from one call of the network."""
    null, prompt = answers(prior, z_t, level, [text.null, text.prompt])
    return null, prompt


def check_scale(name: str, scale: float) -> None:
    """Raise FieldError for a scale that only turns the prompt around."""
    if not scale >= 0:
        raise FieldError(name, scale, "must be >= 0 (0 = null text only, 1 = prompt only)")


def mixed(null: Tensor, prompt: Tensor, scale: Number) -> Tensor:
    """Classifier-free guidance, null + scale (prompt - null) (Ho and Salimans, 2207.12598)."""
    return null + scale * (prompt - null)


class ScaledGuidance(ABC):
    """Classifier-free guidance with a scale that may depend on the noise level.

    A scale of 1 is the prompt alone and 0 the null text alone, at one network evaluation; others cost two.
    """

    def check(self, info: PriorInfo) -> None:  # noqa: B027 - a rule that needs something says so
        """Nothing is needed."""

    @abstractmethod
    def scale_at(self, level: Level) -> Number:
        """The scale at a level: a number, or (B, 1, 1, 1) where every sample has a level of its own."""

    def predict(self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition) -> Prediction:
        """See :class:`Guidance`."""
        scale = self.scale_at(level)
        if not isinstance(scale, Tensor) and scale in (0, 1):
            return prior.predict(z_t, level, text.prompt if scale else text.null)
        null, prompt = both_answers(prior, z_t, level, text)
        return Prediction(mixed(null.z_0, prompt.z_0, scale), mixed(null.eps, prompt.eps, scale))
