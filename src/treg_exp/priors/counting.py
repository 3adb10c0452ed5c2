"""What a restoration costs: calls of the networks, counted where every solver has to pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.prior import Codec, Denoiser, Prior
from treg_exp.schedule.levels import Level, Prediction


@dataclass
class Calls:
    """Rows that went through the networks: a guided step of one sample counts 2.

    Attributes:
        forward: evaluations of the denoiser.
        backward: gradients taken through it.
        encodes: signals encoded.
        decodes: latents decoded.
    """

    forward: int = 0
    backward: int = 0
    encodes: int = 0
    decodes: int = 0


@dataclass(frozen=True)
class CountedDenoiser:
    """Counts forward and backward passes of a denoiser."""

    wrapped: Denoiser
    calls: Calls

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """See ``Denoiser``."""
        self.calls.forward += len(z_t)
        if torch.is_grad_enabled():
            if z_t.requires_grad:
                z_t = self._watched(z_t)
            elif text is not None and text.tokens.requires_grad:
                text = text.with_tokens(self._watched(text.tokens))
        return self.wrapped.predict(z_t, level, text)

    def _watched(self, tensor: Tensor) -> Tensor:
        """The same values; counts when a gradient arrives, which happens once per backward pass."""
        watched = tensor.view_as(tensor)
        watched.register_hook(self._count)  # type: ignore[no-untyped-call]
        return watched

    def _count(self, gradient: Tensor) -> None:
        self.calls.backward += len(gradient)


@dataclass(frozen=True)
class CountedCodec:
    """Counts what a codec encodes and decodes."""

    wrapped: Codec
    calls: Calls

    def encode(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """See ``Codec``."""
        self.calls.encodes += len(x)
        return self.wrapped.encode(x, noise)

    def decode(self, z: Tensor) -> Tensor:
        """See ``Codec``."""
        self.calls.decodes += len(z)
        return self.wrapped.decode(z)


def counted(prior: Prior) -> tuple[Prior, Calls]:
    """The same prior, and the counts that its use fills.

    Count before several sources are stacked (``stacked.for_signals``): then each of them is a row of its own.
    """
    calls = Calls()
    codec, denoiser = CountedCodec(prior.codec, calls), CountedDenoiser(prior.denoiser, calls)
    return replace(prior, codec=codec, denoiser=denoiser), calls
