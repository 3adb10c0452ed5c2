"""Stage 1: an autoencoder that turns 64 x 64 pictures into 16 x 16 latents of four channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treg_exp.metrics.fidelity import psnr
from treg_exp.metrics.networks.lpips import load_lpips
from treg_exp.recipes.emoji64.augment import jitter
from treg_exp.recipes.emoji64.corpus import CorpusFolder
from treg_exp.recipes.emoji64.networks import build_autoencoder
from treg_exp.recipes.emoji64.pictures import PictureObjective
from treg_exp.recipes.emoji64.trained import TrainedStages


class AutoencoderObjective(PictureObjective):
    """First both halves, so that the latents suit a denoiser; then the decoder alone, so that pictures look right.

    Both phases take the L1 of pixels and of their differences. The first adds a slight KL term and the same loss
    for the half-size copy, decoded from the latent averaged over 2 x 2 places (scale equivariance, Skorokhodov et
    al., arXiv 2502.14831). Without it half of the latent's variance lies in its finest frequencies, where a picture
    has a sixth, and a denoiser has to learn noise-like codes instead of shapes. The second adds LPIPS.

    Args:
        corpus: where pictures and split are.
        stages: where a prior to start from is named.
        widths: channels per level, fine to coarse.
        gradient_weight: weight of the L1 between neighbouring-pixel differences, which keeps outlines sharp.
        half_size_weight: weight of the half-size copy's loss.
        kl_weight: weight of the KL divergence from the unit normal, in nats per picture.
        perceptual_weight: weight of LPIPS.
        locked_from: share of the budget after which the encoder stays as it is. Always 0 with a prior to start from:
            its denoiser has learnt these latents.
    """

    def __init__(
        self,
        corpus: CorpusFolder,
        stages: TrainedStages,
        widths: Sequence[int] = (24, 32, 64),
        gradient_weight: float = 0.5,
        half_size_weight: float = 1.5,
        kl_weight: float = 4e-6,
        perceptual_weight: float = 0.2,
        locked_from: float = 0.6,
    ) -> None:
        super().__init__(build_autoencoder(widths), corpus)
        stages.begin({"vae": self.network})
        self.gradient_weight = gradient_weight
        self.half_size_weight = half_size_weight
        self.kl_weight = kl_weight
        self.perceptual_weight = perceptual_weight
        self.locked_from = 0.0 if stages.start_from else locked_from
        self.locked = False

    def advance(self, progress: float, average: nn.Module) -> None:
        """Lock the encoder when it is time."""
        self.locked = progress >= self.locked_from
        if self.locked:
            self.lock(average, "encoder", "quant_conv")

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Reconstruction loss of jittered training pictures through one posterior sample."""
        images = self.corpus.as_float(batch.cpu())
        everything = torch.ones(len(images), dtype=torch.bool)
        images = jitter(images, generator, shift=6.0, scale=(0.75, 1.15), flip=everything).to(self.device)
        posterior = self.network.encode(images).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(self.device)
        latents = posterior.mean + posterior.std * noise
        decoded = self.network.decode(latents).sample
        loss: Tensor = self._difference(decoded, images)
        if self.locked:
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
        images = self.corpus.as_float(self.held_out[:: max(1, len(self.held_out) // 100)])
        images = images.to(self.device)
        latents = self.network.encode(images).latent_dist.mean
        decoded = self.network.decode(latents).sample.clamp(-1.0, 1.0)
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
