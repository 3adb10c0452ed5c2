"""The transformer of Flux."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from treg_exp.priors.denoisers.timesteps import timesteps
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.networks import FrozenNetwork
from treg_exp.priors.precision import Precision
from treg_exp.schedule.levels import Level, Prediction

PATCH = 2  # side of the squares of latent places that are one token
PIPELINE_TIMESTEPS = 1000  # the network multiplies what it is told by it


class FluxDenoiser:
    """Denoiser around diffusers' ``FluxTransformer2DModel``, whose output is a velocity.

    Args:
        transformer: the network; it sees a latent as a row of tokens, one per square of 2 x 2 places.
        precision: what it computes in.
        device: where it lives.
        embedded_guidance: scale that the network is told, where it was distilled from guided predictions
            (``guidance_embeds``, FLUX.1-dev); without effect on others.
    """

    def __init__(
        self, transformer: Any, precision: Precision, device: torch.device, embedded_guidance: float = 3.5
    ) -> None:
        self.network = FrozenNetwork(transformer, precision, device, stored_in_half=True)
        self.embedded_guidance = embedded_guidance

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """See ``Denoiser``."""
        assert text is not None, "a network with joint attention is always told a text"
        text = text.to(self.network.dtype)
        height, width = (side // PATCH for side in z_t.shape[-2:])
        guidance = timesteps(self.embedded_guidance, z_t) if self.network.config.guidance_embeds else None
        with self.network.running():
            output = self.network.module(
                hidden_states=packed(z_t),
                timestep=timesteps(level.t, z_t) / PIPELINE_TIMESTEPS,
                guidance=guidance,
                pooled_projections=text.pooled,
                encoder_hidden_states=text.tokens,
                txt_ids=torch.zeros(text.tokens.shape[1], 3, device=z_t.device),
                img_ids=places(height, width).to(z_t.device),
            ).sample
        return level.predict(unpacked(output.float(), height, width).contiguous(), z_t, "flow")


def packed(z: Tensor) -> Tensor:
    """(B, c, h, w) -> (B, h/2 * w/2, 4 c): the channels of a square's four places one after the other."""
    batch, channels, height, width = z.shape
    squares = z.reshape(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return squares.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpacked(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `packed`, for ``height`` x ``width`` tokens."""
    squares = tokens.reshape(len(tokens), height, width, -1, PATCH, PATCH)
    return squares.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def places(height: int, width: int) -> Tensor:
    """(height * width, 3): row and column of every token, behind a zero."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1).float()
