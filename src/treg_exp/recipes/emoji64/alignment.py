"""Alignment of the denoiser's inner features with those of a frozen image encoder (REPA)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.latents import picture_versions

#: What the encoder is asked for: one feature per picture, or one at each of 4 x 4 places.
TARGETS = ("pooled", "spatial")


def feature_bank(tower: Any, corpus: Corpus, versions: int, target: str) -> Tensor:
    """Features of every picture in the versions of `LatentBank`, computed where the encoder is.

    Args:
        tower: ConvNeXt of `TwoTowers`; never the judge, which measures the result.
        corpus: of N pictures.
        versions: see `picture_versions`.
        target: one of `TARGETS`.

    Returns:
        (V, N, C, h, w) float16, each channel with zero mean and unit deviation over the plain pictures, or the cosine
        would mostly compare what all pictures have in common.
    """
    found = [_features(tower, part, target).half() for part in picture_versions(corpus, versions, tower.device)]
    features = torch.cat(found).view(versions, len(corpus.pictures), *found[0].shape[1:])
    plain = features[0].float()
    mean, deviation = plain.mean(dim=(0, 2, 3), keepdim=True), plain.std(dim=(0, 2, 3), keepdim=True)
    for version in features:
        version.copy_((version.float() - mean) / deviation.clamp(min=1e-6))
    return features


def alignment_head(channels: int, tower: Any, target: str, hidden: int = 512) -> nn.Sequential:
    """Projection from features of the denoiser to those of the encoder; trained along, never exported.

    Args:
        channels: of the denoiser's middle block.
        tower: the encoder.
        target: one of `TARGETS`.
        hidden: its own width.
    """
    width = tower.config.hidden_sizes[-1 if target == "pooled" else -2]
    return nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.SiLU(), nn.Conv2d(hidden, width, 1))


def disagreement(projected: Tensor, features: Tensor) -> Tensor:
    """One minus the cosine, mean over places and pictures: 0 where both agree, 1 where they have nothing in common.

    Args:
        projected: (B, C, 4, 4) of `alignment_head`.
        features: (B, C, 4, 4), or (B, C, 1, 1), which is compared with the mean over places.
    """
    if features.shape[-1] == 1:
        projected = projected.mean(dim=(2, 3), keepdim=True)
    return 1.0 - F.cosine_similarity(projected.float(), features.float(), dim=1).mean()


@torch.no_grad()
def _features(tower: Any, images: Tensor, target: str) -> Tensor:
    given = tower(images, output_hidden_states=target == "spatial")
    pooled: Tensor = given.pooler_output[:, :, None, None]
    return pooled if target == "pooled" else given.hidden_states[-2]
