"""The transformer of Stable Diffusion 3 and 3.5 (Esser et al., 2403.03206)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from treg_exp.priors.denoisers.timesteps import timesteps
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.networks import FrozenNetwork
from treg_exp.priors.precision import Precision
from treg_exp.schedule.levels import Level, Prediction


class SD3Denoiser:
    """Denoiser around diffusers' ``SD3Transformer2DModel``, whose output is a velocity.

    Args:
        transformer: the network.
        precision: what it computes in.
        device: where it lives.
    """

    def __init__(self, transformer: Any, precision: Precision, device: torch.device) -> None:
        self.network = FrozenNetwork(transformer, precision, device, stored_in_half=True)

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """See ``Denoiser``."""
        assert text is not None, "a network with joint attention is always told a text"
        text = text.to(self.network.dtype)
        with self.network.running():
            output = self.network.module(
                hidden_states=self.network.prepared(z_t),
                timestep=timesteps(level.t, z_t),
                encoder_hidden_states=text.tokens,
                pooled_projections=text.pooled,
            ).sample
        return level.predict(output.float().contiguous(), z_t, "flow")
