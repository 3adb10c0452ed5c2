"""A latent diffusion model assembled from diffusers and transformers parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from treg_exp.priors.base import ImageTextEncoder, TextLayout
from treg_exp.priors.precision import Precision, autocast, autocast_dtype
from treg_exp.priors.texts import Texts
from treg_exp.schedule import Point, Schedule

CPU = torch.device("cpu")


@dataclass
class LatentDiffusion:
    """Autoencoder, denoiser and text encoders behind the ``Prior`` protocol.

    A plain class, not an ``nn.Module``: a Lightning module that holds it neither broadcasts nor saves the weights.

    Attributes:
        vae: diffusers ``AutoencoderKL``; its config gives the latent scale and shift.
        unet: diffusers ``UNet2DConditionModel``.
        texts: text encoders of the denoiser.
        schedule: noise schedule that the denoiser was trained on.
        clip: image and text features, or None.
        precision: number format of the networks, see ``precision.py``.
        device: where everything lives.
        embedded_guidance: scale that a consistency model is told with its timestep (it was distilled from guided
            predictions); without effect on other denoisers.
    """

    vae: Any
    unet: Any
    texts: Texts
    schedule: Schedule
    clip: ImageTextEncoder | None = None
    precision: Precision = "auto"
    device: torch.device = CPU
    embedded_guidance: float = 8.5

    def __post_init__(self) -> None:
        for network in (self.vae, self.unet):
            network.eval().requires_grad_(False)
        self.texts.to(self.device)
        self._arrange(self.precision)
        config = self.vae.config
        self.scale: float = config.scaling_factor
        self.shift: float = getattr(config, "shift_factor", None) or 0.0
        self.factor = 2 ** (len(config.block_out_channels) - 1)
        self.image_size: int = self.unet.config.sample_size * self.factor

    def _arrange(self, precision: Precision) -> None:
        """Store and lay out the networks for a number format."""
        self.half = autocast_dtype(precision, self.device)
        # The autoencoder of SDXL overflows in float16, and its configuration says so. (Those of other kinds say so,
        # too, by diffusers' default, which nothing but the pipeline of SDXL heeds.)
        overflows = self.half == torch.float16 and self.text_layout.pooled and self.vae.config.force_upcast
        self.unet_precision, self.vae_precision = precision, "fp32" if overflows else precision
        self.unet_layout, self.vae_layout = (
            memory_layout(autocast_dtype(p, self.device)) for p in (self.unet_precision, self.vae_precision)
        )
        # The denoiser, by far the largest network, is stored in the format that it computes in: half the memory.
        # (Module.to, because diffusers' own warns of every change of format.)
        nn.Module.to(self.unet, self.device, self.half or torch.float32).to(memory_format=self.unet_layout)
        self.vae.to(self.device).to(memory_format=self.vae_layout)

    @property
    def in_half_precision(self) -> bool:
        """Whether the networks compute in less than float32."""
        return self.half is not None

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Compute in float32 for a while, with the weights as they are stored."""
        try:
            self._arrange("fp32")
            yield
        finally:
            self._arrange(self.precision)

    @property
    def text_layout(self) -> TextLayout:
        """See ``Prior``."""
        return self.texts.layout

    @property
    def feature_width(self) -> int | None:
        """See ``Prior``."""
        return None if self.clip is None else self.clip.width

    def encode(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """See ``Prior``."""
        with autocast(self.vae_precision, self.device):
            posterior = self.vae.encode(x.contiguous(memory_format=self.vae_layout)).latent_dist
        z: Tensor = posterior.mean.float()
        if noise is not None:
            z = z + posterior.std.float() * noise
        return (z - self.shift) * self.scale

    def decode(self, z: Tensor) -> Tensor:
        """See ``Prior``."""
        z = (z / self.scale + self.shift).contiguous(memory_format=self.vae_layout)
        with autocast(self.vae_precision, self.device):
            x: Tensor = self.vae.decode(z).sample
        return x.float().contiguous()

    def predict(self, z_t: Tensor, point: Point, text: Tensor) -> Tensor:
        """See ``Prior``."""
        height, width = (side * self.factor for side in z_t.shape[-2:])
        # As the weights are stored: autocast on a CPU leaves LayerNorm alone, which refuses to mix formats.
        conditions = self.texts.conditions(text.to(self.unet.dtype), height, width)
        if width_of_guidance := self.unet.config.time_cond_proj_dim:
            conditions["timestep_cond"] = guidance_embedding(self.embedded_guidance, width_of_guidance).to(z_t)
        with autocast(self.unet_precision, self.device):
            output = self.unet(z_t.contiguous(memory_format=self.unet_layout), point.t, **conditions).sample
        return point.eps(output.float().contiguous(), z_t, self.schedule.prediction)

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """See ``Prior``."""
        return self.texts.embed(prompts)

    def empty_latent(self, batch_size: int, image_shape: tuple[int, int, int]) -> Tensor:
        """See ``Prior``."""
        _, height, width = image_shape
        multiple = self.factor * 2 ** (len(self.unet.config.block_out_channels) - 1)
        check_multiple(height, width, multiple)
        shape = (batch_size, self.unet.config.in_channels, height // self.factor, width // self.factor)
        return torch.empty(shape, device=self.device)


def memory_layout(half: torch.dtype | None) -> torch.memory_format:
    """Half precision is faster with the channels last; float32 is ten times more exact without (GroupNorm)."""
    return torch.contiguous_format if half is None else torch.channels_last


def guidance_embedding(scale: float, width: int) -> Tensor:
    """(1, width) sinusoids of a guidance scale, as latent consistency models are told it (Luo et al., 2310.04378).

    The scale is that of diffusers' pipelines, where 1 means no guidance; the networks are told the one of the paper,
    where 0 does.
    """
    from diffusers.models.embeddings import get_timestep_embedding

    paper = torch.tensor([1000.0 * (scale - 1.0)])
    embedding: Tensor = get_timestep_embedding(paper, width, flip_sin_to_cos=False, downscale_freq_shift=1.0)
    return embedding


def check_multiple(height: int, width: int, multiple: int) -> None:
    """Raise ValueError unless autoencoder and denoiser can halve the image as often as they do."""
    if height % multiple or width % multiple:
        raise ValueError(
            f"images of {height}x{width} do not fit the prior: height and width must be multiples of {multiple}"
        )
