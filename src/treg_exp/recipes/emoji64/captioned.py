"""What the trainings of a denoiser share: encoded pictures, their captions, and the frozen text encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.noise import generator as keyed_generator
from treg_exp.priors.small import training_scheduler
from treg_exp.priors.texts.clip import token_ids
from treg_exp.recipes.emoji64.captions import styled_caption
from treg_exp.recipes.emoji64.corpus import CorpusFolder
from treg_exp.recipes.emoji64.denoising import TRAINABLE, denoise, suit_bf16_on_cpus
from treg_exp.recipes.emoji64.latents import LatentBank
from treg_exp.recipes.emoji64.networks import build_denoiser
from treg_exp.recipes.emoji64.pictures import PictureObjective
from treg_exp.recipes.emoji64.prompttable import PromptTable
from treg_exp.recipes.emoji64.trained import TrainedStages
from treg_exp.schedule.levels import Kind


@dataclass(frozen=True)
class Drawn:
    """One batch.

    Attributes:
        latents: (B, 4, 16, 16) scaled z_0.
        text: (B, L, 128) token embeddings of a caption of each, or of the empty prompt.
        versions: (B,) int64, which of the moved variants.
        indices: (B,) int64 positions in the corpus.
    """

    latents: Tensor
    text: Tensor
    versions: Tensor
    indices: Tensor


class CaptionedLatents(PictureObjective):
    """Base of the trainings of a denoiser: a subclass names its loss and its figures.

    Latents, captions and random numbers live where the network is.

    Args:
        corpus: where pictures and split are.
        stages: the trained autoencoder and text encoder.
        widths: channels of the three levels, fine to coarse.
        prompt_dropout: share of pictures that are trained with the empty prompt.
        prediction: what the network predicts, one of ``trainable``.
        styled_share: share of captions that name the style, see `with_styled_share`; None for the weights of the
            templates, by which 47 % do. A caption without style leaves open what the picture looks like.
        versions: slightly moved variants of each picture, the plain one included.
        embed_beforehand: embed all captions once, before the first step, which takes 280 MB and, on a CPU, a minute.
        compile: let torch compile the network, which takes a minute or two before the first step.

    Raises:
        FieldError: a value out of its range.
    """

    draws_on_device = True
    #: What a network of this training may predict.
    trainable: tuple[str, ...] = TRAINABLE

    def __init__(
        self,
        corpus: CorpusFolder,
        stages: TrainedStages,
        widths: Sequence[int],
        prompt_dropout: float,
        prediction: Kind,
        styled_share: float | None,
        versions: int,
        embed_beforehand: bool,
        compile: bool,
    ) -> None:
        if prediction not in self.trainable:
            raise FieldError("prediction", prediction, f"allowed are {', '.join(self.trainable)}")
        if styled_share is not None and not 0.0 <= styled_share <= 1.0:
            raise FieldError("styled_share", styled_share, "must be >= 0 and <= 1, or null")
        if versions < 1:
            raise FieldError("versions", versions, "must be >= 1")
        self.tokenizer = stages.tokenizer()
        # Frozen, and saved by the stage that trained it.
        self.text_encoder = stages.towers().text_encoder.eval().requires_grad_(False)
        network = self.build(widths, self.text_encoder.config.hidden_size)
        super().__init__(network.to(memory_format=torch.channels_last), corpus)
        self.prompts = PromptTable(self.corpus.pictures, self.tokenizer, styled_share)
        self.stages, self.versions = stages, versions
        self.latents_file = stages.folder("unet").path / "latents.pt"
        self.prompt_dropout, self.prediction = prompt_dropout, prediction
        self.embed_beforehand, self.compile = embed_beforehand, compile
        self.alpha_bar = training_scheduler().alphas_cumprod
        self._denoise: Callable[..., tuple[Tensor, Tensor]] = denoise

    def build(self, widths: Sequence[int], text_width: int) -> UNet2DConditionModel:
        """The untrained network."""
        return build_denoiser(widths, text_width)

    def bank(self, device: torch.device) -> LatentBank:
        """What the network is to draw: all versions of all pictures, here as latents."""
        scaling_factor = self.stages.scaling_factor(self.corpus)
        return LatentBank.cached(
            self.latents_file, self.stages.autoencoder(), self.corpus, scaling_factor, self.versions, device
        )

    def meaning(self) -> Mapping[str, str]:
        """What the network predicts."""
        return {"prediction": self.prediction}

    def prepare(self, number_format: str) -> None:
        """Bring to the network's device what a step reads; on a CPU avoid operators that are slow in bfloat16."""
        device = self.device
        self.text_encoder, self.alpha_bar = self.text_encoder.to(device), self.alpha_bar.to(device)
        self.latents = self.bank(device)
        self.prompts.to(device)
        if self.embed_beforehand:
            self.prompts.embed_all(self._encode)
        if device.type == "cpu" and number_format == "bf16-mixed":
            suit_bf16_on_cpus(self.network)
        if self.compile:
            self._denoise = torch.compile(denoise, dynamic=False)

    def draw(self, batch: Tensor, generator: torch.Generator) -> Drawn:
        """Latents and captions of training pictures.

        Args:
            batch: (B,) int64 positions in the corpus.
            generator: source of the draws.
        """
        indices = batch.to(self.device)
        versions = self.latents.draw_versions(len(batch), generator)
        latents = self.latents.sample(versions, indices, generator)
        prompts = self.prompts.draw(indices, generator, self.prompt_dropout)
        return Drawn(latents, self.prompts.embedded(prompts, self._encode), versions, indices)

    def draw_held_out(self, least: int) -> tuple[Drawn, torch.Generator]:
        """Held-out pictures with the captions of the test set, always the same.

        Args:
            least: how many at least, where there are as many; fewer than twice as many.

        Returns:
            The batch, and the source of what is random in it, to be drawn from further.
        """
        generator = keyed_generator("validation")
        indices = self.held_out[:: max(1, len(self.held_out) // least)]
        pictures = [self.corpus.pictures[index] for index in indices.tolist()]
        text = self._encode(token_ids(self.tokenizer, [styled_caption(p.name, p.style) for p in pictures], self.device))
        versions, indices = self.latents.draw_versions(len(indices), generator), indices.to(self.device)
        return Drawn(self.latents.sample(versions, indices, generator), text, versions, indices), generator

    @torch.no_grad()
    def _encode(self, tokens: Tensor) -> Tensor:
        """(B, L, 128) token embeddings of the frozen text encoder."""
        embeddings: Tensor = self.text_encoder(tokens).last_hidden_state
        return embeddings
