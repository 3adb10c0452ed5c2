"""Is the name of a picture among the best of all names?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from treg_exp.recipes.emoji64.corpus import Corpus


def name_ranks(image: Tensor, text: Tensor, labels: Tensor) -> Tensor:
    """Place of the right name among all names, (B,) int64; 1 is the best match.

    Args:
        image: (B, F) unit vectors of pictures.
        text: (N, F) unit vectors of all names.
        labels: (B,) int64, positions of the right names.
    """
    scores = (image @ text.T).cpu()
    # Equal scores count against the right name: two names with the same vector are not told apart.
    return (scores >= scores.gather(1, labels[:, None].cpu())).sum(dim=1)


def name_hits(image: Tensor, text: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Whether the right name is the best match of each picture, and whether it is among the best five.

    Args:
        image: (B, F) unit vectors of pictures.
        text: (N, F) unit vectors of all names.
        labels: (B,) int64, positions of the right names.

    Returns:
        ``top1`` and ``top5``, each (B,) float64 of 1 and 0.
    """
    return hits_of(name_ranks(image, text, labels))


def hits_of(ranks: Tensor) -> dict[str, Tensor]:
    """See `name_hits`, from the places that `name_ranks` found, (B,) int64."""
    return {"top1": (ranks <= 1).double(), "top5": (ranks <= 5).double()}


@torch.no_grad()
def held_out_hits(encoder: Any, corpus: Corpus) -> dict[str, float]:
    """How often the name of a held-out picture is the best, or among the best five, of all names.

    Args:
        encoder: a network with ``text_features`` and ``image_features``.
        corpus: pictures and split.
    """
    held_out = torch.tensor(corpus.split.held_out)
    images = corpus.as_float(held_out).to(next(encoder.parameters()).device)
    hits = name_hits(encoder.image_features(images), encoder.text_features(corpus.names), corpus.labels[held_out])
    return {name: hit.mean().item() for name, hit in hits.items()}
