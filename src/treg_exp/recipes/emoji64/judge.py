"""The evaluation model: trained beside the prior, by another objective, and never seen by guidance."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treg_exp.metrics.networks.judge import Judge
from treg_exp.recipes.emoji64.augment import jitter, shrunk, wear
from treg_exp.recipes.emoji64.captions import STYLES
from treg_exp.recipes.emoji64.captiontable import CaptionTable
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.retrieval import name_hits
from treg_exp.recipes.emoji64.settings import StageSettings
from treg_exp.recipes.emoji64.stage import TrainingStage


class Classifier(nn.Module):
    """The judge with the learnt temperature of its training."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = Judge()
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))


class JudgeStage(TrainingStage):
    """Which of all names is it, and which of all styles? Two full softmax losses instead of a contrastive one.

    The text tower is so light that every step reads one caption of every name: a picture is compared with all
    1,900 things, not with those that happen to be in its batch.

    Attributes:
        smoothing: share of the target that is spread over all names; many things are hard to tell apart.
        style_weight: of the second loss.
        small: pixels per side of the pictures at first, which makes a step almost twice as fast.
        whole_from: share of the budget after which they have all 64.
    """

    any_style = True

    def __init__(
        self,
        corpus: Corpus,
        settings: StageSettings,
        smoothing: float = 0.1,
        style_weight: float = 0.3,
        small: int = 48,
        whole_from: float = 0.7,
    ) -> None:
        super().__init__(Classifier().to(memory_format=torch.channels_last), corpus, settings)
        self.smoothing, self.style_weight = smoothing, style_weight
        self.small, self.whole_from = small, whole_from
        self.captions = CaptionTable(corpus)
        pieces_of = self.network.judge.pieces_of
        self.plain, self.styled = pieces_of(self.captions.plain), pieces_of(self.captions.styled)

    def suits_muon(self, name: str, parameter: nn.Parameter) -> bool:
        """All kernels and matrices but the first, the last and the embeddings."""
        outer = ("trunk.0.", "image_head.", "pieces.", "importance.", "text_head.3.")
        return parameter.ndim > 1 and not any(part in name for part in outer)

    def loss(self, generator: torch.Generator, count: int) -> Tensor:
        """Cross-entropy over all names, plus that over the styles of the right name."""
        indices = self.draw_indices(generator, count)
        labels = self.corpus.labels[indices]
        images = self.corpus.as_float(indices).to(self.device)
        images = jitter(
            images, generator, shift=6.0, scale=(0.75, 1.15), turn=15.0, flip=self.corpus.flippable[indices]
        )
        images = wear(images, generator, blur=2.0, light=0.2, noise=0.15, hole=20)
        if self.progress < self.whole_from:
            images = shrunk(images, self.small)
        judge, scale = self.network.judge, self.network.log_scale.exp()
        image = judge.features_at_size(images.contiguous(memory_format=torch.channels_last))
        drawn = self.plain[self.captions.draw(generator)]
        names = scale * image @ judge.features_of_pieces(drawn.to(self.device)).T
        by_name = F.cross_entropy(names, labels.to(self.device), label_smoothing=self.smoothing)
        own = self.styled[self.captions.of_name(labels).flatten()]
        text = judge.features_of_pieces(own.to(self.device)).view(count, len(STYLES), -1)
        styles = scale * torch.einsum("bf,bsf->bs", image, text)
        return by_name + self.style_weight * F.cross_entropy(styles, self.corpus.styles[indices].to(self.device))

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """How often the name of a held-out picture is the best, or among the best five, of all names."""
        judge = self.average.judge
        text = judge.text_features(self.corpus.names)
        image = judge.image_features(self.corpus.as_float(self.held_out_indices).to(self.device))
        hits = name_hits(image, text, self.corpus.labels[self.held_out_indices])
        return {name: hit.mean().item() for name, hit in hits.items()}
