"""Keyed random streams: a sample draws the same numbers in any batch, order or process.

The key of a stream is (seed, sample_id, draw, purpose, step, inner). Solver, variant, batch and rank are not part
of it, so two solvers or two prompts are compared on the same draws. Numbers are drawn on the CPU and then moved,
so a GPU gets the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


def stream_seed(*key: object) -> int:
    """A 63-bit seed from any key of printable parts (SHA-256, so neighbouring keys are unrelated)."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(*key: object) -> torch.Generator:
    """A fresh CPU generator for one stream."""
    return torch.Generator(device="cpu").manual_seed(stream_seed(*key))


class Noise(Protocol):
    """Where a solver takes its random numbers from."""

    def normal(self, purpose: str, step: int = 0, inner: int = 0, *, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape, device and dtype of ``like`` (leading axis = sample)."""
        ...


@dataclass(frozen=True)
class StreamKey:
    """Identity of one work item's random streams."""

    seed: int
    sample_id: str
    draw: int = 0


@dataclass(frozen=True)
class KeyedNoise:
    """Independent streams for every sample of a batch.

    Attributes:
        keys: one key per sample, in the order of the batch.
    """

    keys: Sequence[StreamKey]

    def _generators(self, purpose: str, step: int, inner: int) -> list[torch.Generator]:
        return [generator(k.seed, k.sample_id, k.draw, purpose, step, inner) for k in self.keys]

    def normal(self, purpose: str, step: int = 0, inner: int = 0, *, like: Tensor) -> Tensor:
        """See :class:`Noise`."""
        if like.shape[0] != len(self.keys):
            raise ValueError(f"noise for {len(self.keys)} samples was asked for a batch of {like.shape[0]}")
        draws = [torch.randn(like.shape[1:], generator=g) for g in self._generators(purpose, step, inner)]
        return torch.stack(draws).to(like)


@dataclass(frozen=True)
class CandidateNoise:
    """The streams of one of several tries at the same work items; those of the first try are the given ones.

    Attributes:
        noise: streams of the work items.
        candidate: number of the try, from 0.
    """

    noise: Noise
    candidate: int

    def normal(self, purpose: str, step: int = 0, inner: int = 0, *, like: Tensor) -> Tensor:
        """See :class:`Noise`."""
        own = f"candidate {self.candidate}: {purpose}" if self.candidate else purpose
        return self.noise.normal(own, step, inner, like=like)


@dataclass(frozen=True)
class ReplayNoise:
    """Recorded draws, for parity with another implementation.

    Attributes:
        records: (purpose, step, inner) -> array. Shapes are taken as recorded.
    """

    records: Mapping[tuple[str, int, int], np.ndarray]

    def _record(self, purpose: str, step: int, inner: int) -> Tensor:
        try:
            return torch.as_tensor(self.records[purpose, step, inner])
        except KeyError:
            known = sorted({name for name, _, _ in self.records})
            raise KeyError(f"no recorded draw for {(purpose, step, inner)}; recorded purposes: {known}") from None

    def normal(self, purpose: str, step: int = 0, inner: int = 0, *, like: Tensor) -> Tensor:
        """The recorded array, on the device and in the dtype of ``like``."""
        return self._record(purpose, step, inner).to(like)
