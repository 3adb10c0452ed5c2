"""What a task needs of its noise, and how noise is drawn: from one stream per sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from treg_exp.noise import generator


class NoiseModel(Protocol):
    """Noise of a measurement.

    Every model has ``sigma``, the standard deviation of Gaussian noise with the same mean square. Lambda and the
    residual metric use it; where noise depends on the signal it is an average over values, which each class states.
    """

    @property
    def sigma(self) -> float:
        """Standard deviation, or that of Gaussian noise of the same mean square, in the units of y."""
        ...

    def sample(self, like: Tensor, seed: int, sample_ids: Sequence[str]) -> Tensor:
        """Noisy minus clean measurement, for clean ``like`` (B, ...); a sample depends on (seed, sample_id) only."""
        ...


def drawn(
    draw: Callable[..., Tensor], like: Tensor, key: tuple[int, str], sample_ids: Sequence[str], **kind: torch.dtype
) -> Tensor:
    """Random numbers of the shape of ``like`` (B, ...), drawn on the CPU from one stream per sample.

    Args:
        draw: ``torch.randn``, ``torch.rand`` or alike.
        like: gives the shape.
        key: seed and purpose; with a sample's name they are the key of its stream.
        sample_ids: one name per sample.
        kind: the ``dtype`` for ``draw``.
    """
    seed, purpose = key
    streams = (generator(seed, sample_id, purpose) for sample_id in sample_ids)
    return torch.stack([draw(like.shape[1:], generator=stream, **kind) for stream in streams])
