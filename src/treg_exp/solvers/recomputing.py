"""Gradients through a prior in little memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.prior import Codec, Denoiser, Prior
from treg_exp.schedule.levels import Level, Prediction


def recomputing(prior: Prior) -> Prior:
    """The same prior with little memory for gradients: what its networks keep on the way is computed again instead.

    Costs a second forward pass per gradient, which is counted as one where calls are counted.
    """
    return replace(prior, codec=_RecomputingCodec(prior.codec), denoiser=_RecomputingDenoiser(prior.denoiser))


def _again(call: Callable[..., Any], *arguments: Any) -> Any:
    if not torch.is_grad_enabled():
        return call(*arguments)
    return checkpoint(call, *arguments, use_reentrant=False, preserve_rng_state=False)  # no part draws numbers


@dataclass(frozen=True)
class _RecomputingCodec:
    wrapped: Codec

    def encode(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """See ``Codec``."""
        latent: Tensor = _again(self.wrapped.encode, x, noise)
        return latent

    def decode(self, z: Tensor) -> Tensor:
        """See ``Codec``."""
        signal: Tensor = _again(self.wrapped.decode, z)
        return signal


@dataclass(frozen=True)
class _RecomputingDenoiser:
    wrapped: Denoiser

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """See ``Denoiser``."""

        def both(z: Tensor) -> tuple[Tensor, Tensor]:
            at = self.wrapped.predict(z, level, text)
            return at.z_0, at.eps

        return Prediction(*_again(both, z_t))
