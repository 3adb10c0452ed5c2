"""Distances between two sets of pictures in the features of the judge."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

SUBSET = 100  # pictures per subset of the kernel distance
RESAMPLES = 100  # for the bounds of the Frechet distance


class _Given(nn.Module):
    """Takes features where torchmetrics expects pictures, and passes them on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        return features.flatten(1)


def distances(real: Tensor, fake: Tensor) -> dict[str, dict[str, Any]]:
    """Frechet distance (arXiv 1706.08500) and kernel distance (arXiv 1801.01401) of two sets of features.

    The scale is that of the features: unit vectors, so both are small numbers. Like every Frechet distance of a
    few hundred pictures it is biased upwards; compare only with the same counts.

    Args:
        real: (N, F) features.
        fake: (M, F) features.

    Returns:
        ``frechet`` with bounds as far apart as those of 95 % of its bootstrap resamples but around the value itself,
        because the resamples have a bias of their own; ``kernel`` with the mean of 100 subsets plus and minus twice
        the standard error; each ``{"mean": ..., "low": ..., "high": ..., "n": M}``.
    """
    generator = torch.Generator().manual_seed(0)
    value = frechet(real, fake)
    drawn = torch.tensor([frechet(_resample(real, generator), _resample(fake, generator)) for _ in range(RESAMPLES)])
    low, high = drawn.quantile(torch.tensor([0.025, 0.975])).tolist()
    half = (high - low) / 2
    mean, error = kernel(real, fake)
    return {
        "frechet": {"mean": value, "low": value - half, "high": value + half, "n": len(fake)},
        "kernel": {"mean": mean, "low": mean - 2 * error, "high": mean + 2 * error, "n": len(fake)},
    }


def frechet(real: Tensor, fake: Tensor) -> float:
    """Frechet distance of two Gaussians that are fitted to (N, F) and (M, F) features."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]), normalize=True)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return float(metric.compute())


def kernel(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Mean squared maximum mean discrepancy over random subsets, cubic kernel, and its standard error."""
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(SUBSET, len(real), len(fake))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):  # its subsets come from the global stream
        warnings.filterwarnings("ignore", message=".*save all extracted features.*")
        torch.manual_seed(0)
        metric = KernelInceptionDistance(feature=_Given(real.shape[1]), subsets=100, subset_size=size, normalize=True)
        metric.update(real, real=True)
        metric.update(fake, real=False)
        mean, deviation = metric.compute()
    return float(mean), float(deviation) / 100**0.5


def _resample(features: Tensor, generator: torch.Generator) -> Tensor:
    return features[torch.randint(len(features), (len(features),), generator=generator)]
