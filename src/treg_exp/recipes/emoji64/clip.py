"""Stage 2: a text and an image encoder that share one space, trained contrastively."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treg_exp.priors.texts import token_ids
from treg_exp.recipes.emoji64.augment import jitter, shrunk, wear
from treg_exp.recipes.emoji64.captions import draw_caption, names_style
from treg_exp.recipes.emoji64.captiontable import CaptionTable
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.retrieval import name_hits
from treg_exp.recipes.emoji64.settings import StageSettings
from treg_exp.recipes.emoji64.stage import TrainingStage
from treg_exp.recipes.emoji64.vocabulary import MAX_LENGTH

#: Width of the token embeddings, of the shared space, and of the denoiser's cross-attention.
WIDTH = 128


class TwoTowers(nn.Module):
    """The text encoder, the image encoder and the learnt temperature.

    There is no text projection: the pooled text output itself is the feature. Token embeddings, which the
    denoiser attends to, therefore live in the same space as image features. The image tower is a ConvNeXt (Liu et
    al., arXiv 2201.03545) whose last stage is as wide as that space: on ten thousand pictures a transformer on
    patches of 8 x 8 found 52 % of held-out names among the first five after 42 minutes, this one 71 % after 50.
    """

    def __init__(self, vocabulary: int, start_id: int, end_id: int) -> None:
        super().__init__()
        from transformers import CLIPTextConfig, CLIPTextModel, ConvNextConfig, ConvNextModel

        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=vocabulary,
                hidden_size=WIDTH,
                intermediate_size=4 * WIDTH,
                projection_dim=WIDTH,
                num_hidden_layers=3,
                num_attention_heads=4,
                max_position_embeddings=MAX_LENGTH,
                hidden_act="quick_gelu",
                bos_token_id=start_id,
                eos_token_id=end_id,
                pad_token_id=end_id,
            )
        )
        self.image_encoder = ConvNextModel(
            ConvNextConfig(
                hidden_sizes=[48, 96, 192, WIDTH],
                depths=[2, 2, 4, 1],
                patch_size=4,
                image_size=64,
                layer_scale_init_value=0.1,
            )
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(1.0 / 0.07)))

    def text_features(self, tokens: Tensor) -> Tensor:
        """Unit vectors of prompts.

        Args:
            tokens: (B, L) int64, padded.

        Returns:
            (B, 128) float32.
        """
        return F.normalize(self.text_encoder(tokens).pooler_output.float(), dim=-1)

    def image_features(self, images: Tensor) -> Tensor:
        """Unit vectors of pictures.

        Args:
            images: (B, 3, H, W) in [-1, 1]; this is what the mean and deviation of 0.5 for [0, 1] amount to. 64
                pixels a side in use; training starts with smaller ones.

        Returns:
            (B, 128) float32.
        """
        return F.normalize(self.image_encoder(images).pooler_output.float(), dim=-1)


class ClipStage(TrainingStage):
    """First both towers by a contrastive loss over the batch, then the image tower alone over all names.

    Once the text tower is locked (compare LiT, arXiv 2111.07991), the features of all captions are computed once,
    and every picture is compared with everything instead of with its batch.

    Attributes:
        small: pixels per side of the pictures at first, which makes a step almost twice as fast.
        whole_from: share of the budget after which they have all 64, as they do in use. Early, because the last of
            five halvings drops a third of the places of a picture of 48.
        locked_from: share of the budget after which the text tower stays as it is. A denoiser that has learnt
            to read a text tower needs 0.
        smoothing: share of the target that is spread over all names; many things are hard to tell apart.
        style_weight: of the loss over all captions that name a style, beside that over all plain ones.
    """

    any_style = True

    def __init__(
        self,
        corpus: Corpus,
        settings: StageSettings,
        tokenizer: Any,
        small: int = 48,
        whole_from: float = 0.35,
        locked_from: float = 0.4,
        smoothing: float = 0.1,
        style_weight: float = 0.3,
    ) -> None:
        super().__init__(TwoTowers(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id), corpus, settings)
        self.tokenizer = tokenizer
        self.small, self.whole_from, self.locked_from = small, whole_from, locked_from
        self.smoothing, self.style_weight = smoothing, style_weight

    def loss(self, generator: torch.Generator, count: int) -> Tensor:
        """Contrastive loss of one batch, or the loss over all names once the text tower is locked."""
        indices = self.draw_indices(generator, count)
        images = self.corpus.as_float(indices)
        images = jitter(
            images, generator, shift=6.0, scale=(0.75, 1.15), turn=10.0, flip=self.corpus.flippable[indices]
        )
        images = wear(images, generator, blur=0.0, light=0.15, noise=0.0, hole=0)
        progress = self.progress
        if progress < self.whole_from:
            images = shrunk(images, self.small)
        image = self.network.image_features(images.to(self.device))
        scale = self.network.log_scale.clamp(max=math.log(100.0)).exp()
        if progress >= self.locked_from:
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
        """All captions with the features of the plain and of the styled ones, by the averaged text tower."""
        self.lock("text_encoder")
        table = CaptionTable(self.corpus)
        plain, styled = (
            torch.cat([self.network.text_features(part) for part in torch.split(ids, 512)])
            for ids in (token_ids(self.tokenizer, texts, self.device) for texts in (table.plain, table.styled))
        )
        return table, plain, styled

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """How often the name of a held-out picture is the best, or among the best five, of all names."""
        text = self.average.text_features(token_ids(self.tokenizer, self.corpus.names, self.device))
        image = self.average.image_features(self.corpus.as_float(self.held_out_indices).to(self.device))
        hits = name_hits(image, text, self.corpus.labels[self.held_out_indices])
        return {name: hit.mean().item() for name, hit in hits.items()}

    def _also_true(self, indices: Tensor, captions: list[str]) -> Tensor:
        """(B, B) bool: caption j fits picture i although it was drawn for another picture.

        It does if both show the same thing, unless the caption names a style that the picture does not have.
        """
        labels, styles = self.corpus.labels[indices], self.corpus.styles[indices]
        styled = torch.tensor([names_style(caption) for caption in captions])
        fits = (labels[:, None] == labels[None, :]) & (~styled[None, :] | (styles[:, None] == styles[None, :]))
        return fits & ~torch.eye(len(indices), dtype=torch.bool)
