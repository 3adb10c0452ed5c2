"""Stage 2: a text and an image encoder that share one space, trained contrastively."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treg_exp.priors.texts.clip import token_ids
from treg_exp.recipes.emoji64.augment import jitter, shrunk, wear
from treg_exp.recipes.emoji64.captions import caption_variants, draw_caption, names_style
from treg_exp.recipes.emoji64.captiontable import CaptionTable
from treg_exp.recipes.emoji64.corpus import CorpusFolder
from treg_exp.recipes.emoji64.networks import TwoTowers
from treg_exp.recipes.emoji64.pictures import PictureObjective
from treg_exp.recipes.emoji64.retrieval import name_hits
from treg_exp.recipes.emoji64.trained import TrainedStages


class ClipObjective(PictureObjective):
    """First both towers by a contrastive loss over the batch, then the image tower alone over all names.

    Once the text tower is locked (compare LiT, arXiv 2111.07991), the features of all captions are computed once,
    and every picture is compared with everything instead of with its batch.

    Args:
        corpus: where pictures and split are.
        stages: keeps the vocabulary, which is learnt on first use, and names a prior to start from.
        width: of the token embeddings, of the shared space, and of the denoiser's cross-attention.
        image_widths: of the image tower's stages before the last.
        text_layers: of the text tower.
        small: pixels per side of the pictures at first, which makes a step almost twice as fast.
        whole_from: share of the budget after which they have all 64, as they do in use. Early, because the last of
            five halvings drops a third of the places of a picture of 48.
        locked_from: share of the budget after which the text tower stays as it is. Always 0 with a prior to start
            from: its denoiser has learnt to read that tower.
        smoothing: share of the target that is spread over all names; many things are hard to tell apart.
        style_weight: of the loss over all captions that name a style, beside that over all plain ones.
    """

    def __init__(
        self,
        corpus: CorpusFolder,
        stages: TrainedStages,
        width: int = 128,
        image_widths: Sequence[int] = (48, 96, 192),
        text_layers: int = 3,
        small: int = 48,
        whole_from: float = 0.35,
        locked_from: float = 0.4,
        smoothing: float = 0.1,
        style_weight: float = 0.3,
    ) -> None:
        self.tokenizer = stages.tokenizer(c for picture in corpus.load().pictures for c in caption_variants(picture))
        super().__init__(TwoTowers(self.tokenizer, width, image_widths, text_layers), corpus)
        stages.begin({"text_encoder": self.network.text_encoder, "image_encoder": self.network.image_encoder})
        self.small, self.whole_from = small, whole_from
        self.locked_from = 0.0 if stages.start_from else locked_from
        self.smoothing, self.style_weight = smoothing, style_weight
        self.whole = self.locked = False

    def advance(self, progress: float, average: nn.Module) -> None:
        """Show whole pictures, and lock the text tower, when it is time."""
        self.whole, self.locked = progress >= self.whole_from, progress >= self.locked_from
        if self.locked:
            self.lock(average, "text_encoder")

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Contrastive loss of one batch, or the loss over all names once the text tower is locked."""
        indices = batch.cpu()
        images = self.corpus.as_float(indices)
        images = jitter(
            images, generator, shift=6.0, scale=(0.75, 1.15), turn=10.0, flip=self.corpus.flippable[indices]
        )
        images = wear(images, generator, blur=0.0, light=0.15, noise=0.0, hole=0)
        if not self.whole:
            images = shrunk(images, self.small)
        image = self.network.image_features(images.to(self.device))
        scale = self.network.log_scale.clamp(max=math.log(100.0)).exp()
        if self.locked:
            return self._loss_over_all(scale * image, indices, generator)
        return self._loss_over_batch(scale * image, indices, generator)

    def _loss_over_batch(self, image: Tensor, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Symmetric; a picture's other true captions are not counted as wrong."""
        captions = [draw_caption(self.corpus.pictures[i], generator, naming=True) for i in indices.tolist()]
        tokens = token_ids(self.tokenizer, captions, self.device)
        # Attention is causal and the feature is read at the first end token: padding after it changes nothing.
        longest = int((tokens != self.tokenizer.eos_token_id).sum(dim=1).max()) + 1
        logits = image @ self.network.text_features(tokens[:, :longest]).T
        also_true = self._also_true(indices, captions).to(self.device)
        target = torch.arange(len(indices), device=self.device)
        by_image = F.cross_entropy(logits.masked_fill(also_true, -1e4), target)
        by_text = F.cross_entropy(logits.T.masked_fill(also_true.T, -1e4), target)
        return 0.5 * (by_image + by_text)

    def _loss_over_all(self, image: Tensor, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Which of all names, and which of all names in all styles?"""
        captions, plain, styled = self._locked_text
        labels, styles = self.corpus.labels[indices], self.corpus.styles[indices]
        by_name = F.cross_entropy(
            image @ plain[captions.draw(generator)].T, labels.to(self.device), label_smoothing=self.smoothing
        )
        own = captions.of_name(labels).gather(1, styles[:, None])[:, 0]
        by_style = F.cross_entropy(image @ styled.T, own.to(self.device), label_smoothing=self.smoothing)
        return by_name + self.style_weight * by_style

    @cached_property
    @torch.no_grad()
    def _locked_text(self) -> tuple[CaptionTable, Tensor, Tensor]:
        """All captions with the features of the plain and of the styled ones, by the locked text tower."""
        table = CaptionTable(self.corpus)
        plain, styled = (
            torch.cat([self.network.text_features(part) for part in torch.split(ids, 512)])
            for ids in (token_ids(self.tokenizer, texts, self.device) for texts in (table.plain, table.styled))
        )
        return table, plain, styled

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """How often the name of a held-out picture is the best, or among the best five, of all names."""
        text = self.network.text_features(token_ids(self.tokenizer, self.corpus.names, self.device))
        image = self.network.image_features(self.corpus.as_float(self.held_out).to(self.device))
        hits = name_hits(image, text, self.corpus.labels[self.held_out])
        return {name: hit.mean().item() for name, hit in hits.items()}

    def _also_true(self, indices: Tensor, captions: list[str]) -> Tensor:
        """(B, B) bool: caption j fits picture i although it was drawn for another picture.

        It does if both show the same thing, unless the caption names a style that the picture does not have.
        """
        labels, styles = self.corpus.labels[indices], self.corpus.styles[indices]
        styled = torch.tensor([names_style(caption) for caption in captions])
        fits = (labels[:, None] == labels[None, :]) & (~styled[None, :] | (styles[:, None] == styles[None, :]))
        return fits & ~torch.eye(len(indices), dtype=torch.bool)
