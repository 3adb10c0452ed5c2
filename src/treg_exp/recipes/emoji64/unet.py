"""Stage 3: the text-conditioned denoiser in the latent space of stage 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from treg_exp.configuration.places import one_line
from treg_exp.errors import FieldError
from treg_exp.noise import generator as keyed_generator
from treg_exp.priors.small import training_scheduler
from treg_exp.priors.texts.clip import token_ids
from treg_exp.recipes.emoji64.captions import draw_caption, styled_caption
from treg_exp.recipes.emoji64.corpus import CorpusFolder
from treg_exp.recipes.emoji64.latents import LatentBank
from treg_exp.recipes.emoji64.networks import build_denoiser
from treg_exp.recipes.emoji64.pictures import PictureObjective
from treg_exp.recipes.emoji64.trained import TrainedStages, weights_in
from treg_exp.schedule.levels import Kind

TRAINABLE = ("epsilon", "v_prediction")


class DenoiserObjective(PictureObjective):
    """Velocity or noise prediction; autoencoder and text encoder are frozen.

    The squared error of z_0 is weighted with clamp(SNR, floor, cap). The cap is that of min-SNR weighting (Hang et
    al., arXiv 2303.09556); the floor is that of truncated SNR weighting (Salimans and Ho, arXiv 2202.00512).
    Without the floor, what the text says at high noise weighs nearly nothing.

    Args:
        corpus: where pictures and split are.
        stages: the trained autoencoder and text encoder, and the prior to start from.
        widths: channels of the three levels, fine to coarse.
        prompt_dropout: share of pictures that are trained with the empty prompt.
        prediction: what the network predicts, one of `TRAINABLE`.
        snr_range: floor and cap; (0, 5) is min-SNR weighting.
        focus: where training looks most, as the median and spread of a logit-normal density of t/1000 (Esser et
            al., arXiv 2403.03206). What a thing is gets decided at high noise, so the text is learnt there.
        weights: a file with weights of the denoiser to start from, see `weights_in`; None for none.

    Raises:
        FieldError: another kind of prediction, or weights of another network.
    """

    def __init__(
        self,
        corpus: CorpusFolder,
        stages: TrainedStages,
        widths: Sequence[int] = (64, 128, 256),
        prompt_dropout: float = 0.1,
        prediction: Kind = "v_prediction",
        snr_range: Sequence[float] = (1.0, 5.0),
        focus: Sequence[float] = (0.6, 1.2),
        weights: str | None = None,
    ) -> None:
        if prediction not in TRAINABLE:
            raise FieldError("prediction", prediction, f"allowed are {', '.join(TRAINABLE)}")
        self.tokenizer = stages.tokenizer()
        # Frozen, and saved by the stage that trained it.
        self.text_encoder = stages.towers().text_encoder.eval().requires_grad_(False)
        network = build_denoiser(widths, self.text_encoder.config.hidden_size)
        super().__init__(network.to(memory_format=torch.channels_last), corpus)
        stages.begin({"unet": self.network}, prediction)
        if weights is not None:
            try:
                self.network.load_state_dict(weights_in(Path(weights)))
            except (RuntimeError, OSError) as error:
                raise FieldError("weights", weights, one_line(error)[:300]) from None
        file = stages.folder("unet").path / "latents.pt"
        self.latents = LatentBank.cached(file, stages.autoencoder(), self.corpus, stages.scaling_factor(self.corpus))
        self.prompt_dropout, self.prediction = prompt_dropout, prediction
        self.snr_range, self.focus = snr_range, focus
        self.alpha_bar = training_scheduler().alphas_cumprod

    def meaning(self) -> Mapping[str, str]:
        """What the network predicts."""
        return {"prediction": self.prediction}

    def prepare(self, number_format: str) -> None:
        """In bfloat16 on a CPU, avoid the operators that are slow there."""
        self.text_encoder, self.alpha_bar = self.text_encoder.to(self.device), self.alpha_bar.to(self.device)
        if self.device.type == "cpu" and number_format == "bf16-mixed":
            suit_bf16_on_cpus(self.network)

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Weighted squared error of the prediction on one batch."""
        indices, count = batch.cpu(), len(batch)
        latents = self.latents.draw(indices, generator)
        prompts = [draw_caption(self.corpus.pictures[i], generator) for i in indices.tolist()]
        dropped = torch.rand(len(prompts), generator=generator) < self.prompt_dropout
        prompts = ["" if drop else prompt for prompt, drop in zip(prompts, dropped.tolist(), strict=True)]
        median, spread = self.focus
        depths = torch.sigmoid(
            math.log(median / (1.0 - median)) + spread * torch.special.ndtri(strata(count, generator))
        )
        return self._denoising_loss(latents, prompts, depths, generator)

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """Loss of the averaged network on held-out pictures, always with the same noise."""
        generator = keyed_generator("validation")
        indices = self.held_out[:: max(1, len(self.held_out) // 128)]
        pictures = [self.corpus.pictures[index] for index in indices.tolist()]
        prompts = [styled_caption(picture.name, picture.style) for picture in pictures]
        latents = self.latents.draw(indices, generator)
        loss = self._denoising_loss(latents, prompts, strata(len(prompts), generator), generator)
        return {"val_loss": loss.item()}

    def _denoising_loss(
        self, latents: Tensor, prompts: list[str], depths: Tensor, generator: torch.Generator
    ) -> Tensor:
        times = (depths * 1000.0).long().clamp(max=999)
        noise = torch.randn(latents.shape, generator=generator).to(self.device)
        times, latents = times.to(self.device), latents.to(self.device)
        signal = self.alpha_bar[times].view(-1, 1, 1, 1)
        a, s = signal.sqrt(), (1.0 - signal).sqrt()
        noisy = (a * latents + s * noise).contiguous(memory_format=torch.channels_last)
        output = self.network(noisy, times, self.embed(prompts)).sample
        return weighted_error(output, latents, noise, signal, self.prediction, self.snr_range)

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Tensor:
        """(B, L, 128) token embeddings of the frozen text encoder."""
        embeddings: Tensor = self.text_encoder(token_ids(self.tokenizer, prompts, self.device)).last_hidden_state
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
    prediction: Kind,
    snr_range: Sequence[float],
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
