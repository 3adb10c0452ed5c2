"""Guidance rules: how the predictions for the prompt and for the null text become one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from treg_exp.priors.base import Prior
from treg_exp.schedule import Point
from treg_exp.types import TextCondition


class Guided(NamedTuple):
    """Noise estimates of a guided step, (B, c, h, w) each.

    Attributes:
        eps: for the Tweedie estimate.
        eps_renoise: for the move to the next noise level (differs from ``eps`` in CFG++-like rules).
    """

    eps: Tensor
    eps_renoise: Tensor


class Guidance(Protocol):
    """A rule that asks the network and mixes its answers."""

    def predict(self, prior: Prior, z_t: Tensor, point: Point, text: TextCondition) -> Guided:
        """Guided noise estimates at one noise level."""
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
            raise ValueError(f"scale={self.scale}: must be >= 0 (0 = null text only, 1 = prompt only)")

    def predict(self, prior: Prior, z_t: Tensor, point: Point, text: TextCondition) -> Guided:
        """See :class:`Guidance`."""
        if self.scale == 1:
            eps = prior.predict(z_t, point, text.prompt)
        elif self.scale == 0:
            eps = prior.predict(z_t, point, text.null)
        else:
            both = prior.predict(torch.cat([z_t, z_t]), point, torch.cat([text.null, text.prompt]))
            null, prompt = both.chunk(2)
            eps = null + self.scale * (prompt - null)
        return Guided(eps, eps)
