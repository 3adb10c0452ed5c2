"""Entries that are replaced by the extreme values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.operators.noise.base import drawn


@dataclass(frozen=True)
class SaltAndPepperNoise:
    """Some entries of y are replaced by -1 or 1, with equal chances; the others are exact.

    A quadratic data term is a poor model of it: lambda from ``sigma`` keeps outliers from dominating, no more.

    Attributes:
        fraction: replaced part of the entries, in [0, 1].
    """

    fraction: float

    def __post_init__(self) -> None:
        """Checks the fraction."""
        if not 0 <= self.fraction <= 1:
            raise FieldError("fraction", self.fraction, "must be in [0, 1]")

    @property
    def sigma(self) -> float:
        """sqrt(4/3 fraction): root mean square for intensities spread evenly over [-1, 1]."""
        return math.sqrt(4 / 3 * self.fraction)

    def sample(self, like: Tensor, seed: int, sample_ids: Sequence[str]) -> Tensor:
        """Noisy minus clean measurement, see :class:`NoiseModel`."""
        place = drawn(torch.rand, like, (seed, "salt and pepper"), sample_ids).to(like.device)
        extreme = torch.where(place < self.fraction / 2, -1.0, 1.0)
        return torch.where(place < self.fraction, extreme - like, 0.0)
