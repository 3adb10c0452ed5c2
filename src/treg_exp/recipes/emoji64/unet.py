"""Stage 3: the text-conditioned denoiser in the latent space of stage 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from treg_exp.configuration.places import one_line
from treg_exp.errors import FieldError
from treg_exp.noise import generator as keyed_generator
from treg_exp.priors.small import training_scheduler
from treg_exp.priors.texts.clip import token_ids
from treg_exp.recipes.emoji64.alignment import TARGETS, alignment_head, disagreement, feature_bank
from treg_exp.recipes.emoji64.captions import styled_caption
from treg_exp.recipes.emoji64.corpus import CorpusFolder
from treg_exp.recipes.emoji64.denoising import (
    TRAINABLE,
    denoise,
    logit_normal,
    strata,
    suit_bf16_on_cpus,
    weighted_error,
)
from treg_exp.recipes.emoji64.latents import LatentBank, computed_once
from treg_exp.recipes.emoji64.networks import build_denoiser
from treg_exp.recipes.emoji64.pictures import PictureObjective
from treg_exp.recipes.emoji64.prompttable import PromptTable
from treg_exp.recipes.emoji64.trained import TrainedStages, weights_in
from treg_exp.schedule.levels import Kind


class DenoiserObjective(PictureObjective):
    """Velocity or noise prediction; autoencoder and text encoder are frozen.

    The squared error of z_0 is weighted with clamp(SNR, floor, cap). The cap is that of min-SNR weighting (Hang et
    al., arXiv 2303.09556); the floor is that of truncated SNR weighting (Salimans and Ho, arXiv 2202.00512).
    Without the floor, what the text says at high noise weighs nearly nothing.

    Latents, captions and random numbers live where the network is.

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
        styled_share: share of captions that name the style, see `with_styled_share`; None for the weights of the
            templates, by which 47 % do. A caption without style leaves open what the picture looks like.
        versions: slightly moved variants of each picture, the plain one included.
        alignment: weight of the disagreement between the network's middle and the prior's image encoder, as in
            REPA (Yu et al., arXiv 2410.06940; 0.5 there); 0 for none.
        alignment_target: one of `TARGETS`.
        embed_beforehand: embed all captions once, before the first step, which takes 280 MB and, on a CPU, a minute.
        compile: let torch compile the network, which takes a minute or two before the first step.

    Raises:
        FieldError: a value out of its range, or weights of another network.
    """

    draws_on_device = True
    outer = (*PictureObjective.outer, "alignment.")

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
        styled_share: float | None = None,
        versions: int = 6,
        alignment: float = 0.0,
        alignment_target: str = "pooled",
        embed_beforehand: bool = False,
        compile: bool = False,
    ) -> None:
        if prediction not in TRAINABLE:
            raise FieldError("prediction", prediction, f"allowed are {', '.join(TRAINABLE)}")
        if styled_share is not None and not 0.0 <= styled_share <= 1.0:
            raise FieldError("styled_share", styled_share, "must be >= 0 and <= 1, or null")
        if not alignment >= 0.0:
            raise FieldError("alignment", alignment, "must be >= 0")
        if alignment_target not in TARGETS:
            raise FieldError("alignment_target", alignment_target, f"allowed are {', '.join(TARGETS)}")
        if versions < 1:
            raise FieldError("versions", versions, "must be >= 1")
        self.tokenizer = stages.tokenizer()
        # Frozen, and saved by the stage that trained them.
        towers = stages.towers()
        self.text_encoder = towers.text_encoder.eval().requires_grad_(False)
        network = build_denoiser(widths, self.text_encoder.config.hidden_size)
        super().__init__(network.to(memory_format=torch.channels_last), corpus)
        stages.begin({"unet": self.network}, prediction)
        if weights is not None:
            self._take(Path(weights))
        if alignment:
            self.image_encoder = towers.image_encoder.eval().requires_grad_(False)
            self.network.alignment = alignment_head(widths[-1], self.image_encoder, alignment_target)
        self.prompts = PromptTable(self.corpus.pictures, self.tokenizer, styled_share)
        self.autoencoder, self.versions = stages.autoencoder(), versions
        self.scaling_factor = stages.scaling_factor(self.corpus)
        self.latents_file = stages.folder("unet").path / "latents.pt"
        self.prompt_dropout, self.prediction = prompt_dropout, prediction
        self.snr_range, self.focus = snr_range, focus
        self.alignment, self.alignment_target = alignment, alignment_target
        self.embed_beforehand, self.compile = embed_beforehand, compile
        self.alpha_bar = training_scheduler().alphas_cumprod
        self._denoise: Callable[..., tuple[Tensor, Tensor]] = denoise

    def meaning(self) -> Mapping[str, str]:
        """What the network predicts."""
        return {"prediction": self.prediction}

    def prepare(self, number_format: str) -> None:
        """Bring to the network's device what a step reads; on a CPU avoid operators that are slow in bfloat16."""
        device = self.device
        self.text_encoder, self.alpha_bar = self.text_encoder.to(device), self.alpha_bar.to(device)
        self.latents = LatentBank.cached(
            self.latents_file, self.autoencoder, self.corpus, self.scaling_factor, self.versions, device
        )
        if self.alignment:
            tower, target = self.image_encoder.to(device), self.alignment_target
            self.features = computed_once(
                self.latents_file.with_name(f"features_{target}.pt"),
                tower,
                [self.versions, len(self.corpus.pictures)],
                device,
                lambda: {"features": feature_bank(tower, self.corpus, self.versions, target)},
            )["features"]
        self.prompts.to(device)
        if self.embed_beforehand:
            self.prompts.embed_all(self._encode)
        if device.type == "cpu" and number_format == "bf16-mixed":
            suit_bf16_on_cpus(self.network)
        if self.compile:
            self._denoise = torch.compile(denoise, dynamic=False)

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Weighted squared error of the prediction on one batch, and disagreement with the image encoder."""
        indices, count = batch.to(self.device), len(batch)
        versions = self.latents.draw_versions(count, generator)
        latents = self.latents.sample(versions, indices, generator)
        prompts = self.prompts.draw(indices, generator, self.prompt_dropout)
        text = self.prompts.embedded(prompts, self._encode)
        depths = logit_normal(strata(count, generator), self.focus)
        loss, middle = self._denoising_loss(latents, text, depths, generator, self._denoise)
        if self.alignment:
            apart = disagreement(self.network.alignment(middle), self.features[versions, indices])
            loss = loss + self.alignment * apart
        return loss

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """Loss of the averaged network on held-out pictures, always with the same noise."""
        generator = keyed_generator("validation")
        indices = self.held_out[:: max(1, len(self.held_out) // 128)]
        pictures = [self.corpus.pictures[index] for index in indices.tolist()]
        text = self._encode(token_ids(self.tokenizer, [styled_caption(p.name, p.style) for p in pictures], self.device))
        versions = self.latents.draw_versions(len(indices), generator)
        latents = self.latents.sample(versions, indices.to(self.device), generator)
        loss, _ = self._denoising_loss(latents, text, strata(len(indices), generator), generator, denoise)
        return {"val_loss": loss.item()}

    def _denoising_loss(
        self, latents: Tensor, text: Tensor, depths: Tensor, generator: torch.Generator, forward: Callable[..., Any]
    ) -> tuple[Tensor, Tensor]:
        times = (depths * 1000.0).long().clamp(max=999).to(self.device)
        noise = torch.randn(latents.shape, generator=generator, device=generator.device).to(self.device)
        signal = self.alpha_bar[times].view(-1, 1, 1, 1)
        a, s = signal.sqrt(), (1.0 - signal).sqrt()
        noisy = (a * latents + s * noise).contiguous(memory_format=torch.channels_last)
        output, middle = forward(self.network, noisy, times, text)
        return weighted_error(output, latents, noise, signal, self.prediction, self.snr_range), middle

    @torch.no_grad()
    def _encode(self, tokens: Tensor) -> Tensor:
        """(B, L, 128) token embeddings of the frozen text encoder."""
        embeddings: Tensor = self.text_encoder(tokens).last_hidden_state
        return embeddings

    def _take(self, file: Path) -> None:
        """Start from the weights in a file; a projection that was trained along with them is left out."""
        try:
            state = {name: w for name, w in weights_in(file).items() if not name.startswith("alignment.")}
            self.network.load_state_dict(state)
        except (RuntimeError, OSError, StopIteration) as error:
            raise FieldError("weights", str(file), one_line(error)[:300]) from None
