"""A latent diffusion model assembled from diffusers and transformers parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from treg_exp.priors.base import ImageTextEncoder
from treg_exp.priors.precision import Precision, autocast, autocast_dtype
from treg_exp.schedule import Point, Schedule

CPU = torch.device("cpu")


@dataclass
class LatentDiffusion:
    """Autoencoder, denoiser and text encoder behind the ``Prior`` protocol.

    A plain class, not an ``nn.Module``: a Lightning module that holds it neither broadcasts nor saves the weights.

    Attributes:
        vae: diffusers ``AutoencoderKL``; its config gives the latent scale and shift.
        unet: diffusers ``UNet2DConditionModel``.
        text_encoder: transformers ``CLIPTextModel``.
        tokenizer: transformers ``CLIPTokenizer``.
        schedule: noise schedule that the denoiser was trained on.
        clip: image and text features, or None.
        precision: number format of the networks, see ``precision.py``.
        device: where everything lives.
    """

    vae: Any
    unet: Any
    text_encoder: Any
    tokenizer: Any
    schedule: Schedule
    clip: ImageTextEncoder | None = None
    precision: Precision = "auto"
    device: torch.device = CPU

    def __post_init__(self) -> None:
        for network in (self.vae, self.unet, self.text_encoder):
            network.to(self.device).eval().requires_grad_(False)
        # Half precision is faster with the channels last; float32 is ten times more exact without (GroupNorm).
        half = autocast_dtype(self.precision, self.device) is not None
        self.layout = torch.channels_last if half else torch.contiguous_format
        for network in (self.vae, self.unet):
            network.to(memory_format=self.layout)
        config = self.vae.config
        self.scale: float = config.scaling_factor
        self.shift: float = getattr(config, "shift_factor", None) or 0.0
        self.factor = 2 ** (len(config.block_out_channels) - 1)
        self.image_size: int = self.unet.config.sample_size * self.factor
        self.text_width: int = self.unet.config.cross_attention_dim

    @property
    def feature_width(self) -> int | None:
        """See ``Prior``."""
        return None if self.clip is None else self.clip.width

    def encode(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """See ``Prior``."""
        with autocast(self.precision, self.device):
            posterior = self.vae.encode(x.contiguous(memory_format=self.layout)).latent_dist
        z: Tensor = posterior.mean.float()
        if noise is not None:
            z = z + posterior.std.float() * noise
        return (z - self.shift) * self.scale

    def decode(self, z: Tensor) -> Tensor:
        """See ``Prior``."""
        z = (z / self.scale + self.shift).contiguous(memory_format=self.layout)
        with autocast(self.precision, self.device):
            x: Tensor = self.vae.decode(z).sample
        return x.float().contiguous()

    def predict(self, z_t: Tensor, point: Point, text: Tensor) -> Tensor:
        """See ``Prior``."""
        with autocast(self.precision, self.device):
            output = self.unet(z_t.contiguous(memory_format=self.layout), point.t, encoder_hidden_states=text).sample
        return point.eps(output.float().contiguous(), z_t, self.schedule.prediction)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        """See ``Prior``. Texts longer than the encoder's window are cut, as everywhere in the field."""
        tokens = self.tokenizer(
            list(prompts),
            padding="max_length",
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        )
        hidden: Tensor = self.text_encoder(tokens.input_ids.to(self.device)).last_hidden_state
        return hidden.float()

    def empty_latent(self, batch_size: int, image_shape: tuple[int, int, int]) -> Tensor:
        """See ``Prior``."""
        _, height, width = image_shape
        multiple = self.factor * 2 ** (len(self.unet.config.block_out_channels) - 1)
        check_multiple(height, width, multiple)
        shape = (batch_size, self.unet.config.in_channels, height // self.factor, width // self.factor)
        return torch.empty(shape, device=self.device)


def check_multiple(height: int, width: int, multiple: int) -> None:
    """Raise ValueError unless autoencoder and denoiser can halve the image as often as they do."""
    if height % multiple or width % multiple:
        raise ValueError(
            f"images of {height}x{width} do not fit the prior: height and width must be multiples of {multiple}"
        )
