"""Photon counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.operators.noise.base import drawn


@dataclass(frozen=True)
class PoissonNoise:
    """Photon counts: k ~ Poisson(peak u) at intensity u = (y + 1) / 2, reported as y = 2 k / peak - 1.

    For measurements that are images: values below -1 count as darkness. Its variance is 4 u / peak.

    Attributes:
        peak_photons: expected count of a white pixel, > 0.
    """

    peak_photons: float

    def __post_init__(self) -> None:
        """Checks the peak."""
        if not 0 < self.peak_photons <= 1e15:  # of more, quantiles are not found; float32 sees no noise from 1e14
            raise FieldError("peak_photons", self.peak_photons, "must be > 0 and at most 1e15")

    @property
    def sigma(self) -> float:
        """sqrt(2 / peak), the standard deviation at middle grey, u = 1/2, in [-1, 1] units."""
        return math.sqrt(2 / self.peak_photons)

    def sample(self, like: Tensor, seed: int, sample_ids: Sequence[str]) -> Tensor:
        """Noisy minus clean measurement, see :class:`NoiseModel`."""
        return self.counts(like, seed, sample_ids) - like

    def counts(self, clean: Tensor, seed: int, sample_ids: Sequence[str]) -> Tensor:
        """The noisy measurement itself; drawn on the CPU, so that every device gets the same."""
        rate = (self.peak_photons * (clean.detach().cpu().double() + 1) / 2).clamp(min=0)
        level = drawn(torch.rand, rate, (seed, "photons"), sample_ids, dtype=torch.float64)
        noisy: Tensor = 2 * poisson_quantile(level, rate) / self.peak_photons - 1
        return noisy.to(clean)


def poisson_quantile(level: Tensor, rate: Tensor) -> Tensor:
    """Smallest k with P(K <= k) >= level for K ~ Poisson(rate), float64.

    One uniform number per entry, where torch.poisson consumes a number that depends on the rate: there, a rounding
    error in one pixel would change all pixels after it.
    """
    z: Tensor = torch.special.ndtri(level.clamp(1e-12, 1 - 1e-12))
    k: Tensor = (
        (rate + rate.sqrt() * z + (z.square() - 1) / 6).floor().clamp(min=0)
    )  # Cornish-Fisher, at most a few off
    while bool((low := torch.special.gammaincc(k + 1, rate) < level).any()):
        k = k + low
    while bool((high := (k > 0) & (torch.special.gammaincc(k.clamp(min=1), rate) >= level)).any()):
        k = k - high.to(k)
    return k
