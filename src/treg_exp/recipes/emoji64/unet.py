"""Stage 3: the text-conditioned denoiser in the latent space of stage 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from treg_exp.configuration.places import one_line
from treg_exp.errors import FieldError
from treg_exp.recipes.emoji64.alignment import TARGETS, alignment_head, disagreement, feature_bank
from treg_exp.recipes.emoji64.captioned import CaptionedLatents
from treg_exp.recipes.emoji64.corpus import CorpusFolder
from treg_exp.recipes.emoji64.denoising import (
    denoise,
    logit_normal,
    strata,
    weighted_error,
)
from treg_exp.recipes.emoji64.latents import computed_once
from treg_exp.recipes.emoji64.trained import TrainedStages, weights_in
from treg_exp.schedule.levels import Kind


class DenoiserObjective(CaptionedLatents):
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
        styled_share: see `CaptionedLatents`.
        versions: likewise.
        alignment: weight of the disagreement between the network's middle and the prior's image encoder, as in
            REPA (Yu et al., arXiv 2410.06940; 0.5 there); 0 for none.
        alignment_target: one of `TARGETS`.
        embed_beforehand: see `CaptionedLatents`.
        compile: likewise.

    Raises:
        FieldError: a value out of its range, or weights of another network.
    """

    outer = (*CaptionedLatents.outer, "alignment.")

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
        if not alignment >= 0.0:
            raise FieldError("alignment", alignment, "must be >= 0")
        if alignment_target not in TARGETS:
            raise FieldError("alignment_target", alignment_target, f"allowed are {', '.join(TARGETS)}")
        super().__init__(
            corpus, stages, widths, prompt_dropout, prediction, styled_share, versions, embed_beforehand, compile
        )
        self.begin(stages)
        if weights is not None:
            self._take(Path(weights))
        if alignment:
            self.image_encoder = stages.towers().image_encoder.eval().requires_grad_(False)
            self.network.alignment = alignment_head(widths[-1], self.image_encoder, alignment_target)
        self.snr_range, self.focus = snr_range, focus
        self.alignment, self.alignment_target = alignment, alignment_target

    def begin(self, stages: TrainedStages) -> None:
        """Start from the weights of the prior to start from, where there is one."""
        stages.begin({"unet": self.network}, self.prediction)

    def prepare(self, number_format: str) -> None:
        """See `CaptionedLatents`; and compute the features to align with."""
        super().prepare(number_format)
        if self.alignment:
            tower, target = self.image_encoder.to(self.device), self.alignment_target
            self.features = computed_once(
                self.latents_file.with_name(f"features_{target}.pt"),
                tower,
                [self.versions, len(self.corpus.pictures)],
                self.device,
                lambda: {"features": feature_bank(tower, self.corpus, self.versions, target)},
            )["features"]

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Weighted squared error of the prediction on one batch, and disagreement with the image encoder."""
        drawn = self.draw(batch, generator)
        depths = logit_normal(strata(len(batch), generator), self.focus)
        loss, middle = self._denoising_loss(drawn.latents, drawn.text, depths, generator, self._denoise)
        if self.alignment:
            apart = disagreement(self.network.alignment(middle), self.features[drawn.versions, drawn.indices])
            loss = loss + self.alignment * apart
        return loss

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """Loss of the averaged network on held-out pictures, always with the same noise."""
        drawn, generator = self.draw_held_out(128)
        depths = strata(len(drawn.latents), generator)
        loss, _ = self._denoising_loss(drawn.latents, drawn.text, depths, generator, denoise)
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

    def _take(self, file: Path) -> None:
        """Start from the weights in a file; a projection that was trained along with them is left out."""
        try:
            state = {name: w for name, w in weights_in(file).items() if not name.startswith("alignment.")}
            self.network.load_state_dict(state)
        except (RuntimeError, OSError, StopIteration) as error:
            raise FieldError("weights", str(file), one_line(error)[:300]) from None
