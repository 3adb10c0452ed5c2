"""Noise of the measurement, drawn from one stream per sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from treg_exp.noise import generator


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
        streams = (generator(seed, sample_id, "measure") for sample_id in sample_ids)
        noise = torch.stack([torch.randn(like.shape[1:], generator=stream) for stream in streams])
        return self.sigma * noise.to(like)
