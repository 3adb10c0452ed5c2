"""Stage 1: an autoencoder that turns 64 x 64 pictures into 16 x 16 latents of four channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from treg_exp.metrics.fidelity import psnr
from treg_exp.metrics.networks.lpips import load_lpips
from treg_exp.recipes.emoji64.augment import jitter
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.settings import StageSettings
from treg_exp.recipes.emoji64.stage import TrainingStage, silence_residual_branches

LATENT_CHANNELS = 4


def build_autoencoder(widths: tuple[int, ...] = (24, 32, 64)) -> AutoencoderKL:
    """Build the untrained autoencoder; three levels make a factor of four.

    Args:
        widths: channels per level, fine to coarse.
    """
    network = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=64,
    )
    silence_residual_branches(network)
    # A posterior that starts with unit deviation drowns the first hundreds of steps in noise.
    torch.nn.init.constant_(network.quant_conv.bias[LATENT_CHANNELS:], -6.0)
    return network


class AutoencoderStage(TrainingStage):
    """First both halves, so that the latents suit a denoiser; then the decoder alone, so that pictures look right.

    Both phases take the L1 of pixels and of their differences. The first adds a slight KL term and the same loss
    for the half-size copy, decoded from the latent averaged over 2 x 2 places (scale equivariance, Skorokhodov et
    al., arXiv 2502.14831). Without it half of the latent's variance lies in its finest frequencies, where a picture
    has a sixth, and a denoiser has to learn noise-like codes instead of shapes. The second adds LPIPS.

    Attributes:
        gradient_weight: weight of the L1 between neighbouring-pixel differences, which keeps outlines sharp.
        half_size_weight: weight of the half-size copy's loss.
        kl_weight: weight of the KL divergence from the unit normal, in nats per picture.
        perceptual_weight: weight of LPIPS.
        locked_from: share of the budget after which the encoder stays as it is. A denoiser that has learnt its
            latents needs 0.
    """

    any_style = True

    def __init__(
        self,
        corpus: Corpus,
        settings: StageSettings,
        network: AutoencoderKL | None = None,
        gradient_weight: float = 0.5,
        half_size_weight: float = 1.5,
        kl_weight: float = 4e-6,
        perceptual_weight: float = 0.2,
        locked_from: float = 0.6,
    ) -> None:
        super().__init__(network or build_autoencoder(), corpus, settings)
        self.gradient_weight = gradient_weight
        self.half_size_weight = half_size_weight
        self.kl_weight = kl_weight
        self.perceptual_weight = perceptual_weight
        self.locked_from = locked_from

    def loss(self, generator: torch.Generator, count: int) -> Tensor:
        """Reconstruction loss of jittered training pictures through one posterior sample."""
        images = self.corpus.as_float(self.draw_indices(generator, count))
        everything = torch.ones(len(images), dtype=torch.bool)
        images = jitter(images, generator, shift=6.0, scale=(0.75, 1.15), flip=everything).to(self.device)
        if locked := self.progress >= self.locked_from:
            self.lock("encoder", "quant_conv")
        posterior = self.network.encode(images).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(self.device)
        latents = posterior.mean + posterior.std * noise
        decoded = self.network.decode(latents).sample
        loss: Tensor = self._difference(decoded, images)
        if locked:
            loss = loss + self.perceptual_weight * load_lpips().to(self.device)(decoded, images).mean()
            return loss
        small = self.network.decode(F.avg_pool2d(latents, 2)).sample
        loss = loss + self.half_size_weight * self._difference(small, F.avg_pool2d(images, 2))
        regularised: Tensor = loss + self.kl_weight * posterior.kl().mean()
        return regularised

    def _difference(self, decoded: Tensor, images: Tensor) -> Tensor:
        error = decoded - images
        edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        difference: Tensor = error.abs().mean() + self.gradient_weight * edges
        return difference

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """Over 100 held-out pictures: mean PSNR in dB and LPIPS, standard deviation and coarse share of the latents."""
        images = self.corpus.as_float(self.held_out_indices[:: max(1, len(self.held_out_indices) // 100)])
        images = images.to(self.device)
        latents = self.average.encode(images).latent_dist.mean
        decoded = self.average.decode(latents).sample.clamp(-1.0, 1.0)
        return {
            "psnr": psnr(decoded, images).mean().item(),
            "lpips": load_lpips().to(self.device)(decoded, images).mean().item(),
            "latent_std": latents.std().item(),
            "coarse_share": coarse_share(latents),
        }


def coarse_share(latents: Tensor) -> float:
    """Share of the latents' variance that is left after averaging over 2 x 2 places; 0.25 for white noise.

    Args:
        latents: (B, 4, H, W).
    """
    coarse, whole = (z.var(dim=(0, 2, 3), correction=0).mean() for z in (F.avg_pool2d(latents, 2), latents))
    return float(coarse / whole)
