"""The evaluation model: trained beside the prior, by another objective, and never seen by guidance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treg_exp.recipes.emoji64.augment import jitter, shrunk, wear
from treg_exp.recipes.emoji64.captions import STYLES
from treg_exp.recipes.emoji64.captiontable import CaptionTable
from treg_exp.recipes.emoji64.corpus import CorpusFolder
from treg_exp.recipes.emoji64.networks import Classifier
from treg_exp.recipes.emoji64.pictures import PictureObjective
from treg_exp.recipes.emoji64.retrieval import held_out_hits


class JudgeObjective(PictureObjective):
    """Which of all names is it, and which of all styles? Two full softmax losses instead of a contrastive one.

    The text tower is so light that every step reads one caption of every name: a picture is compared with all
    1,900 things, not with those that happen to be in its batch.

    Args:
        corpus: where pictures and split are.
        width: of the shared space.
        channels: of the four resolutions of the image tower.
        blocks: residual blocks at each resolution.
        smoothing: share of the target that is spread over all names; many things are hard to tell apart.
        style_weight: of the second loss.
        small: pixels per side of the pictures at first, which makes a step almost twice as fast.
        whole_from: share of the budget after which they have all 64.
    """

    outer = ("trunk.0.", "image_head.", "pieces.", "importance.", "text_head.3.")

    def __init__(
        self,
        corpus: CorpusFolder,
        width: int = 128,
        channels: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (1, 1, 2, 2),
        smoothing: float = 0.1,
        style_weight: float = 0.3,
        small: int = 48,
        whole_from: float = 0.7,
    ) -> None:
        super().__init__(Classifier(width, channels, blocks).to(memory_format=torch.channels_last), corpus)
        self.smoothing, self.style_weight = smoothing, style_weight
        self.small, self.whole_from = small, whole_from
        self.whole = False
        self.captions = CaptionTable(self.corpus)
        pieces_of = self.network.judge.pieces_of
        self.plain, self.styled = pieces_of(self.captions.plain), pieces_of(self.captions.styled)

    def advance(self, progress: float, average: nn.Module) -> None:
        """Show whole pictures when it is time."""
        self.whole = progress >= self.whole_from

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Cross-entropy over all names, plus that over the styles of the right name."""
        indices = batch.cpu()
        labels = self.corpus.labels[indices]
        images = self.corpus.as_float(indices).to(self.device)
        images = jitter(
            images, generator, shift=6.0, scale=(0.75, 1.15), turn=15.0, flip=self.corpus.flippable[indices]
        )
        images = wear(images, generator, blur=2.0, light=0.2, noise=0.15, hole=20)
        if not self.whole:
            images = shrunk(images, self.small)
        judge, scale = self.network.judge, self.network.log_scale.exp()
        image = judge.features_at_size(images.contiguous(memory_format=torch.channels_last))
        drawn = self.plain[self.captions.draw(generator)]
        names = scale * image @ judge.features_of_pieces(drawn.to(self.device)).T
        by_name = F.cross_entropy(names, labels.to(self.device), label_smoothing=self.smoothing)
        own = self.styled[self.captions.of_name(labels).flatten()]
        text = judge.features_of_pieces(own.to(self.device)).view(len(indices), len(STYLES), -1)
        styles = scale * torch.einsum("bf,bsf->bs", image, text)
        return by_name + self.style_weight * F.cross_entropy(styles, self.corpus.styles[indices].to(self.device))

    def figures(self) -> dict[str, float]:
        """How often the name of a held-out picture is the best, or among the best five, of all names."""
        return held_out_hits(self.network.judge, self.corpus)
