"""The U-Net of the Stable Diffusion family (1, 2, XL, and what was distilled from them)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from treg_exp.priors.denoisers.timesteps import timesteps
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.networks import FrozenNetwork
from treg_exp.priors.precision import Precision
from treg_exp.schedule.levels import Kind, Level, Prediction


class UNetDenoiser:
    """Denoiser around diffusers' ``UNet2DConditionModel``.

    Args:
        unet: diffusers ``UNet2DConditionModel``.
        kind: what its output means.
        factor: ratio of the sides of a picture and of its latent; SDXL is told the size of the picture.
        precision: what it computes in.
        device: where it lives.
        embedded_guidance: scale that a consistency model is told with its timestep (it was distilled from guided
            predictions); without effect on other denoisers.
        patch: side of the patches of places that the network takes as channels of one place.
    """

    def __init__(
        self,
        unet: Any,
        kind: Kind,
        factor: int,
        precision: Precision,
        device: torch.device,
        embedded_guidance: float = 8.5,
        patch: int = 1,
    ) -> None:
        # By far the largest network: stored in the format that it computes in.
        self.network = FrozenNetwork(unet, precision, device, stored_in_half=True)
        self.kind, self.factor, self.embedded_guidance, self.patch = kind, factor, embedded_guidance, patch

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """See ``Denoiser``."""
        assert text is not None, "a network with cross-attention is always told a text"
        # As the weights are stored: autocast on a CPU leaves LayerNorm alone, which refuses to mix formats.
        conditions = self._conditions(text.to(self.network.dtype), z_t)
        with self.network.running():
            seen = self.network.prepared(F.pixel_unshuffle(z_t, self.patch))
            output = self.network.module(seen, timesteps(level.t, z_t), **conditions).sample
        return level.predict(F.pixel_shuffle(output.float(), self.patch).contiguous(), z_t, self.kind)

    def _conditions(self, text: TextEmbedding, z_t: Tensor) -> dict[str, Any]:
        conditions: dict[str, Any] = {"encoder_hidden_states": text.tokens}
        if text.pooled is not None:  # SDXL: the picture is said to have its own size, uncropped
            height, width = (side * self.factor for side in z_t.shape[-2:])
            size = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=z_t.device)
            conditions["added_cond_kwargs"] = {"text_embeds": text.pooled, "time_ids": size.expand(len(text), -1)}
        if width_of_guidance := self.network.config.time_cond_proj_dim:
            conditions["timestep_cond"] = guidance_embedding(self.embedded_guidance, width_of_guidance).to(z_t)
        return conditions


def guidance_embedding(scale: float, width: int) -> Tensor:
    """(1, width) sinusoids of a guidance scale, as latent consistency models are told it (Luo et al., 2310.04378).

    The scale is that of diffusers' pipelines, where 1 means no guidance; the networks are told the one of the paper,
    where 0 does.
    """
    from diffusers.models.embeddings import get_timestep_embedding

    paper = torch.tensor([1000.0 * (scale - 1.0)])
    embedding: Tensor = get_timestep_embedding(paper, width, flip_sin_to_cos=False, downscale_freq_shift=1.0)
    return embedding
