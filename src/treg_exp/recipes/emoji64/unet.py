"""Stage 3: the text-conditioned denoiser in the latent space of stage 1."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from treg_exp.noise import generator as keyed_generator
from treg_exp.priors.layout import training_scheduler
from treg_exp.priors.texts import token_ids
from treg_exp.recipes.emoji64.augment import jitter
from treg_exp.recipes.emoji64.autoencoder import LATENT_CHANNELS
from treg_exp.recipes.emoji64.captions import draw_caption, styled_caption
from treg_exp.recipes.emoji64.clip import WIDTH
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.settings import StageSettings
from treg_exp.recipes.emoji64.stage import TrainingStage, silence_residual_branches
from treg_exp.schedule import Prediction

TRAINABLE = ("epsilon", "v_prediction")
PREDICTION: Prediction = "v_prediction"  # of the denoiser that this recipe makes
POOLED_TEXT_GAIN = 0.3  # of the pooled text beside the time embedding at the start: heard, but not louder


def build_unet(widths: tuple[int, int, int] = (64, 128, 256)) -> UNet2DConditionModel:
    """Build the untrained denoiser for 16 x 16 latents; attention on the two coarser levels.

    The text speaks twice: through cross-attention, as in Stable Diffusion, and pooled into the time embedding
    (``addition_embed_type="text"``), which reaches every residual block. With cross-attention alone the samples of
    60,000 pictures of training hardly depended on the prompt.

    Args:
        widths: channels per level, fine to coarse.
    """
    network = UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=widths,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        addition_embed_type="text",
        addition_embed_type_num_heads=8,
    )
    silence_residual_branches(network)
    torch.nn.init.constant_(network.add_embedding.norm2.weight, POOLED_TEXT_GAIN)
    return network


class UnetStage(TrainingStage):
    """Velocity or noise prediction; autoencoder and text encoder are frozen.

    The squared error of z_0 is weighted with clamp(SNR, floor, cap). The cap is that of min-SNR weighting (Hang et
    al., arXiv 2303.09556); the floor is that of truncated SNR weighting (Salimans and Ho, arXiv 2202.00512).
    Without the floor, what the text says at high noise weighs nearly nothing.

    Attributes:
        prompt_dropout: share of pictures that are trained with the empty prompt.
        prediction: what the network predicts.
        snr_range: floor and cap; (0, 5) is min-SNR weighting.
        focus: where training looks most, as the median and spread of a logit-normal density of t/1000 (Esser et
            al., arXiv 2403.03206). What a thing is gets decided at high noise, so the text is learnt there.
    """

    def __init__(
        self,
        corpus: Corpus,
        settings: StageSettings,
        latents: LatentBank,
        text_encoder: nn.Module,
        tokenizer: Any,
        network: UNet2DConditionModel | None = None,
        prompt_dropout: float = 0.1,
        prediction: Prediction = PREDICTION,
        snr_range: tuple[float, float] = (1.0, 5.0),
        focus: tuple[float, float] = (0.6, 1.2),
    ) -> None:
        super().__init__((network or build_unet()).to(memory_format=torch.channels_last), corpus, settings)
        self.latents = latents
        self.tokenizer = tokenizer
        self.prompt_dropout = prompt_dropout
        if prediction not in TRAINABLE:
            raise ValueError(f"prediction={prediction}: allowed are {', '.join(TRAINABLE)}")
        self.prediction = prediction
        self.snr_range = snr_range
        self.focus = focus
        # Kept out of the module tree: frozen, and saved by the stage that trained it.
        self._text_encoder = [text_encoder.eval().requires_grad_(False)]
        self.register_buffer("alpha_bar", training_scheduler().alphas_cumprod, persistent=False)

    def on_train_start(self) -> None:
        """In bfloat16 on a CPU, avoid the operators that are slow there."""
        super().on_train_start()
        if self.device.type == "cpu" and self.trainer.precision == "bf16-mixed":
            suit_bf16_on_cpus(self.network)

    def loss(self, generator: torch.Generator, count: int) -> Tensor:
        """Weighted squared error of the prediction on one batch."""
        indices = self.draw_indices(generator, count)
        latents = self.latents.draw(indices, generator)
        prompts = [draw_caption(self.corpus.pictures[i], generator) for i in indices.tolist()]
        dropped = torch.rand(len(prompts), generator=generator) < self.prompt_dropout
        prompts = ["" if drop else prompt for prompt, drop in zip(prompts, dropped.tolist(), strict=True)]
        median, spread = self.focus
        depths = torch.sigmoid(
            math.log(median / (1.0 - median)) + spread * torch.special.ndtri(strata(count, generator))
        )
        return self._denoising_loss(self.network, latents, prompts, depths, generator)

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """Loss of the averaged network on held-out pictures, always with the same noise."""
        generator = keyed_generator("validation")
        indices = self.held_out_indices[:: max(1, len(self.held_out_indices) // 128)]
        pictures = [self.corpus.pictures[index] for index in indices.tolist()]
        prompts = [styled_caption(picture.name, picture.style) for picture in pictures]
        latents = self.latents.draw(indices, generator)
        loss = self._denoising_loss(self.average, latents, prompts, strata(len(prompts), generator), generator)
        return {"val_loss": loss.item()}

    def _denoising_loss(
        self, network: nn.Module, latents: Tensor, prompts: list[str], depths: Tensor, generator: torch.Generator
    ) -> Tensor:
        times = (depths * 1000.0).long().clamp(max=999)
        noise = torch.randn(latents.shape, generator=generator).to(self.device)
        times, latents = times.to(self.device), latents.to(self.device)
        signal = self.alpha_bar[times].view(-1, 1, 1, 1)
        a, s = signal.sqrt(), (1.0 - signal).sqrt()
        noisy = (a * latents + s * noise).contiguous(memory_format=torch.channels_last)
        output = network(noisy, times, self.embed(prompts)).sample
        return weighted_error(output, latents, noise, signal, self.prediction, self.snr_range)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the network predicts with it."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["prediction"] = self.prediction

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a network that has learnt to predict something else."""
        super().on_load_checkpoint(checkpoint)
        kept = checkpoint.get("prediction", "epsilon")
        if kept != self.prediction:
            raise ValueError(f"the checkpoint's network predicts {kept}, this recipe's {self.prediction}; start anew")

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Tensor:
        """(B, L, 128) token embeddings of the frozen text encoder."""
        encoder = self._text_encoder[0].to(self.device)
        embeddings: Tensor = encoder(token_ids(self.tokenizer, prompts, self.device)).last_hidden_state
        return embeddings


def suit_bf16_on_cpus(network: UNet2DConditionModel) -> None:
    """Keep a denoiser fast under bfloat16 autocast on a CPU; what it computes stays the same up to rounding.

    Two operators of torch are slower in bfloat16 than in float32: the backward pass of its fused attention (a quarter
    of a step) and group normalisation. With AVX512-BF16 one core does 47 pictures/s instead of 30; float32: 22.

    Args:
        network: changed in place.
    """
    network.set_attn_processor(AttnProcessor())
    for module in network.modules():
        if isinstance(module, nn.GroupNorm):
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))


def weighted_error(
    output: Tensor,
    latents: Tensor,
    noise: Tensor,
    signal: Tensor,
    prediction: Prediction,
    snr_range: tuple[float, float],
) -> Tensor:
    """Mean squared error of the z_0 that a network's output implies, weighted with the clamped signal-to-noise ratio.

    Args:
        output: (B, c, h, w) of the network.
        latents: (B, c, h, w) z_0.
        noise: (B, c, h, w) that was added.
        signal: (B, 1, 1, 1) cumulative alphas.
        prediction: one of `TRAINABLE`.
        snr_range: least and largest weight.
    """
    a, s, snr = signal.sqrt(), (1.0 - signal).sqrt(), (signal / (1.0 - signal)).view(-1)
    # z_0 = (z_t - s eps) / a = a z_t - s v: its squared error is 1 / SNR or 1 - signal times that of the output.
    if prediction == "epsilon":
        target, of_z_0 = noise, 1.0 / snr
    else:
        target, of_z_0 = a * noise - s * latents, 1.0 / (1.0 + snr)
    error = F.mse_loss(output, target, reduction="none").mean(dim=(1, 2, 3))
    loss: Tensor = (snr.clamp(*snr_range) * of_z_0 * error).mean()
    return loss


def strata(count: int, generator: torch.Generator) -> Tensor:
    """Uniform draws, one from each of `count` equal parts of (0, 1), in order.

    Every batch then covers the whole schedule, which halves the noise of the loss.

    Args:
        count: how many draws.
        generator: CPU source of the draws.
    """
    return (torch.arange(count) + torch.rand(count, generator=generator).clamp(1e-3, 1.0 - 1e-3)) / count


class LatentBank:
    """Posterior parameters of every picture in several jittered versions, encoded once.

    Attributes:
        mean: (V, N, 4, 16, 16) float16; version 0 is the picture as it is.
        std: likewise.
        scaling_factor: multiplies a latent so that its standard deviation is 1.
    """

    def __init__(self, mean: Tensor, std: Tensor, scaling_factor: float) -> None:
        self.mean = mean
        self.std = std
        self.scaling_factor = scaling_factor

    @classmethod
    def cached(
        cls, file: Path, vae: AutoencoderKL, corpus: Corpus, scaling_factor: float, versions: int = 6
    ) -> LatentBank:
        """Encode the corpus, or read what was encoded with the same encoder: it takes minutes, and a kill is quick.

        Args:
            file: where the posterior parameters are kept.
            vae: see `encode`, as are the others.
            corpus: likewise.
            scaling_factor: likewise.
            versions: likewise.
        """
        weights = torch.cat([value.flatten() for value in (*vae.encoder.parameters(), *vae.quant_conv.parameters())])
        key = [versions, len(corpus.pictures), hashlib.sha256(weights.cpu().numpy().tobytes()).hexdigest()]
        if file.is_file() and (kept := torch.load(file, weights_only=True))["key"] == key:
            return cls(kept["mean"], kept["std"], scaling_factor)
        bank = cls.encode(vae, corpus, scaling_factor, versions)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        torch.save({"key": key, "mean": bank.mean, "std": bank.std}, partial)
        os.replace(partial, file)
        return bank

    @classmethod
    @torch.no_grad()
    def encode(cls, vae: AutoencoderKL, corpus: Corpus, scaling_factor: float, versions: int = 6) -> LatentBank:
        """Encode the corpus.

        Args:
            vae: the trained autoencoder.
            corpus: what to encode.
            scaling_factor: of the autoencoder.
            versions: how many variants of each picture, the plain one included.
        """
        generator = keyed_generator("latent versions")
        means, stds = [], []
        vae = vae.to(memory_format=torch.channels_last)  # twice as fast
        for version in range(versions):
            for indices in torch.split(torch.arange(len(corpus.pictures)), 64):
                images = corpus.as_float(indices)
                if version:
                    images = jitter(images, generator, shift=2.0, scale=(0.92, 1.04), flip=corpus.flippable[indices])
                posterior = vae.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist
                means.append(posterior.mean.half())
                stds.append(posterior.std.half())
        shape = (versions, len(corpus.pictures), *means[0].shape[1:])
        return cls(torch.cat(means).view(shape), torch.cat(stds).view(shape), scaling_factor)

    def draw(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Sample scaled latents of a random version of each picture.

        Half of the draws are the plain picture: it is the one that restorations are compared with.

        Args:
            indices: (B,) int64 positions in the corpus.
            generator: CPU source of the draws.

        Returns:
            (B, 4, 16, 16) float32 of about unit deviation.
        """
        count = len(indices)
        version = torch.randint(len(self.mean), (count,), generator=generator)
        version[torch.rand(count, generator=generator) < 0.5] = 0
        mean, std = self.mean[version, indices].float(), self.std[version, indices].float()
        return (mean + std * torch.randn(mean.shape, generator=generator)) * self.scaling_factor
