"""The autoencoder of latent diffusion models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from treg_exp.priors.networks import FrozenNetwork
from treg_exp.priors.precision import Precision


class AutoencoderCodec:
    """Codec around diffusers' ``AutoencoderKL``; its configuration gives the latent scale and shift.

    Args:
        vae: diffusers ``AutoencoderKL``.
        precision: what it computes in.
        device: where it lives.
    """

    def __init__(self, vae: Any, precision: Precision, device: torch.device) -> None:
        self.network = FrozenNetwork(vae, precision, device)
        self.scale: float = vae.config.scaling_factor
        self.shift: float = getattr(vae.config, "shift_factor", None) or 0.0

    def encode(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """See ``Codec``."""
        with self.network.running():
            posterior = self.network.module.encode(self.network.prepared(x)).latent_dist
        z: Tensor = posterior.mean.float()
        if noise is not None:
            z = z + posterior.std.float() * noise
        return (z - self.shift) * self.scale

    def decode(self, z: Tensor) -> Tensor:
        """See ``Codec``."""
        z = self.network.prepared(z / self.scale + self.shift)
        with self.network.running():
            x: Tensor = self.network.module.decode(z).sample
        return x.float().contiguous()


def tile(vae: Any) -> None:
    """Make a diffusers autoencoder work in tiles of half its own size; diffusers' tiles begin above that size."""
    vae.enable_tiling()
    vae.tile_sample_min_size //= 2
    vae.tile_latent_min_size //= 2
