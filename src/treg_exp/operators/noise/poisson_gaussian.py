"""Photon counts with the noise of the read-out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.operators.noise.gaussian import GaussianNoise
from treg_exp.operators.noise.poisson import PoissonNoise


@dataclass(frozen=True)
class PoissonGaussianNoise:
    """Photon counts and the noise of the read-out: Poisson noise plus independent Gaussian noise.

    Attributes:
        peak_photons: expected count of a white pixel, > 0, see :class:`PoissonNoise`.
        read_sigma: standard deviation of the read-out in [-1, 1] units, >= 0.
    """

    peak_photons: float
    read_sigma: float

    def __post_init__(self) -> None:
        """Checks both parts."""
        PoissonNoise(self.peak_photons)
        if not 0 <= self.read_sigma < float("inf"):
            raise FieldError("read_sigma", self.read_sigma, "must be >= 0")

    @property
    def sigma(self) -> float:
        """sqrt(2 / peak + read_sigma^2): at middle grey, in [-1, 1] units."""
        return math.hypot(PoissonNoise(self.peak_photons).sigma, self.read_sigma)

    def sample(self, like: Tensor, seed: int, sample_ids: Sequence[str]) -> Tensor:
        """Noisy minus clean measurement, see :class:`NoiseModel`."""
        shot = PoissonNoise(self.peak_photons).sample(like, seed, sample_ids)
        return shot + GaussianNoise(self.read_sigma).sample(like, seed, sample_ids)
