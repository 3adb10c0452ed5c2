"""Noise of the measurement, drawn from one stream per sample.

Every model has ``sigma``, the standard deviation of Gaussian noise with the same mean square. Lambda and the residual
metric use it; for the other models it is an average over intensities, which each class states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from treg_exp.noise import generator


class NoiseModel(Protocol):
    """What a task needs of its noise."""

    @property
    def sigma(self) -> float:
        """Standard deviation, or that of Gaussian noise of the same mean square, in the units of y."""
        ...

    def sample(self, like: Tensor, seed: int, sample_ids: Sequence[str]) -> Tensor:
        """Noisy minus clean measurement, for clean ``like`` (B, ...); a sample depends on (seed, sample_id) only."""
        ...


@dataclass(frozen=True)
class GaussianNoise:
    """Additive white Gaussian noise.

    Attributes:
        sigma: standard deviation in the units of the measurement (images in [-1, 1]); half of it for [0, 1]
            images.
    """

    sigma: float

    def __post_init__(self) -> None:
        """Checks sigma."""
        if not 0 <= self.sigma < float("inf"):
            raise ValueError(f"sigma={self.sigma}: noise level must be >= 0")

    def sample(self, like: Tensor, seed: int, sample_ids: Sequence[str]) -> Tensor:
        """Noise of the shape of ``like`` (B, ...); that of a sample depends on (seed, sample_id) only."""
        return self.sigma * _drawn(torch.randn, like, (seed, "measure"), sample_ids).to(like)


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
        if not 0 < self.peak_photons < float("inf"):
            raise ValueError(f"peak_photons={self.peak_photons}: must be > 0")

    @property
    def sigma(self) -> float:
        """sqrt(2 / peak), the standard deviation at middle grey, u = 1/2, in [-1, 1] units."""
        return math.sqrt(2 / self.peak_photons)

    def sample(self, like: Tensor, seed: int, sample_ids: Sequence[str]) -> Tensor:
        """Noisy minus clean measurement, see :class:`NoiseModel`."""
        return _shot(like, self.peak_photons, seed, sample_ids) - like


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
            raise ValueError(f"read_sigma={self.read_sigma}: must be >= 0")

    @property
    def sigma(self) -> float:
        """sqrt(2 / peak + read_sigma^2): at middle grey, in [-1, 1] units."""
        return math.hypot(PoissonNoise(self.peak_photons).sigma, self.read_sigma)

    def sample(self, like: Tensor, seed: int, sample_ids: Sequence[str]) -> Tensor:
        """Noisy minus clean measurement, see :class:`NoiseModel`."""
        counts = _shot(like, self.peak_photons, seed, sample_ids)
        return counts - like + GaussianNoise(self.read_sigma).sample(like, seed, sample_ids)


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
            raise ValueError(f"fraction={self.fraction}: must be in [0, 1]")

    @property
    def sigma(self) -> float:
        """sqrt(4/3 fraction): root mean square for intensities spread evenly over [-1, 1]."""
        return math.sqrt(4 / 3 * self.fraction)

    def sample(self, like: Tensor, seed: int, sample_ids: Sequence[str]) -> Tensor:
        """Noisy minus clean measurement, see :class:`NoiseModel`."""
        place = _drawn(torch.rand, like, (seed, "salt and pepper"), sample_ids).to(like.device)
        extreme = torch.where(place < self.fraction / 2, -1.0, 1.0)
        return torch.where(place < self.fraction, extreme - like, 0.0)


def _drawn(
    draw: Callable[..., Tensor], like: Tensor, key: tuple[int, str], sample_ids: Sequence[str], **kind: torch.dtype
) -> Tensor:
    """Random numbers of the shape of ``like`` (B, ...), drawn on the CPU from one stream per sample."""
    seed, purpose = key
    streams = (generator(seed, sample_id, purpose) for sample_id in sample_ids)
    return torch.stack([draw(like.shape[1:], generator=stream, **kind) for stream in streams])


def _shot(clean: Tensor, peak: float, seed: int, sample_ids: Sequence[str]) -> Tensor:
    """Poisson counts of ``clean`` in its own units; drawn on the CPU, so that every device gets the same."""
    rate = (peak * (clean.detach().cpu().double() + 1) / 2).clamp(min=0)
    level = _drawn(torch.rand, rate, (seed, "photons"), sample_ids, dtype=torch.float64)
    noisy: Tensor = 2 * poisson_quantile(level, rate) / peak - 1
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
