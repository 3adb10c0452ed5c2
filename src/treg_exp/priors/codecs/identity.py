"""No codec: the denoiser works on pixels or waveforms themselves."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class IdentityCodec:
    """The latent is the signal."""

    def encode(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """See ``Codec``; there is no posterior that noise could sample."""
        return x

    def decode(self, z: Tensor) -> Tensor:
        """See ``Codec``."""
        return z
