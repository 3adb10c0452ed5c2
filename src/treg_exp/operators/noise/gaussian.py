"""Additive white Gaussian noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.operators.noise.base import drawn


@dataclass(frozen=True)
class GaussianNoise:
    """Additive white Gaussian noise.

    Attributes:
        sigma: standard deviation in the units of the measurement (signals in [-1, 1]); half of it for [0, 1]
            images.
    """

    sigma: float

    def __post_init__(self) -> None:
        """Checks sigma."""
        if not 0 <= self.sigma < float("inf"):
            raise FieldError("sigma", self.sigma, "noise level must be >= 0")

    def sample(self, like: Tensor, seed: int, sample_ids: Sequence[str]) -> Tensor:
        """Noise of the shape of ``like`` (B, ...); that of a sample depends on (seed, sample_id) only."""
        return self.sigma * drawn(torch.randn, like, (seed, "measure"), sample_ids).to(like)
