"""All captions of all names, for losses that compare a picture with every name instead of with its batch."""

from __future__ import annotations

import torch
from torch import Tensor

from treg_exp.recipes.emoji64.captions import STYLES, caption_variants, names_style, styled_caption
from treg_exp.recipes.emoji64.corpus import Corpus


class CaptionTable:
    """Captions in the order of `Corpus.names`.

    Attributes:
        plain: captions without a word on style, those of the first name first.
        styled: for every name its caption in each of the `STYLES`.
    """

    def __init__(self, corpus: Corpus) -> None:
        found: dict[str, dict[str, float]] = {name: {} for name in corpus.names}
        for picture in corpus.pictures:
            variants = caption_variants(picture, naming=True).items()
            found[picture.name].update({caption: weight for caption, weight in variants if not names_style(caption)})
        counts = [len(variants) for variants in found.values()]
        self.plain = [caption for variants in found.values() for caption in variants]
        self.styled = [styled_caption(name, style) for name in corpus.names for style in STYLES]
        self._first = torch.tensor([0, *counts[:-1]]).cumsum(0)
        padded = [[*variants.values()] + [0.0] * (max(counts) - len(variants)) for variants in found.values()]
        self._weights = torch.tensor(padded)

    def draw(self, generator: torch.Generator) -> Tensor:
        """One plain caption for every name, by the weights of the templates.

        Args:
            generator: CPU source of the draws.

        Returns:
            (N,) int64 positions in `plain`.
        """
        return self._first + torch.multinomial(self._weights, 1, generator=generator)[:, 0]

    def of_name(self, labels: Tensor) -> Tensor:
        """Where the styled captions of names are.

        Args:
            labels: (B,) int64 positions in `Corpus.names`.

        Returns:
            (B, S) int64 positions in `styled`.
        """
        return labels[:, None] * len(STYLES) + torch.arange(len(STYLES))
