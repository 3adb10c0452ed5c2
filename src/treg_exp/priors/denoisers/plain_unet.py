"""U-Nets without text, on pixels or waveforms themselves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from treg_exp.priors.denoisers.timesteps import timesteps
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.networks import FrozenNetwork
from treg_exp.priors.precision import Precision
from treg_exp.schedule.levels import EDM_DATA_STD, Kind, Level, Prediction


class PlainUNetDenoiser:
    """Denoiser around diffusers' ``UNet2DModel`` or ``UNet1DModel``.

    Args:
        unet: the network.
        kind: what its output means; one of kind ``edm`` is shown z_t / sqrt(sigma^2 + sigma_data^2).
        precision: what it computes in. The weights stay float32: some of these networks hold frequencies among them
            that half precision would spoil.
        device: where it lives.
        clip: range that the estimate of the signal is kept in, +-, as the samplers of such models do; the estimate of
            the noise stays as it is. None leaves it alone.
    """

    def __init__(
        self, unet: Any, kind: Kind, precision: Precision, device: torch.device, clip: float | None = None
    ) -> None:
        self.network = FrozenNetwork(unet, precision, device)
        self.kind, self.clip = kind, clip

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """See ``Denoiser``; a text is not looked at."""
        t = timesteps(level.t, z_t)
        if self.network.config.time_embedding_type == "learned":  # one row of a table for each
            t = t.long()
        scaled = z_t / (level.sigma**2 + EDM_DATA_STD**2) ** 0.5 if self.kind == "edm" else z_t
        with self.network.running():
            output = self.network.module(self.network.prepared(scaled), t).sample
        at = level.predict(output.float().contiguous(), z_t, self.kind)
        return at if self.clip is None else Prediction(at.z_0.clamp(-self.clip, self.clip), at.eps)
