"""Figures of a finished prior, measured on what it was never trained on."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from treg_exp.metrics import psnr, ssim
from treg_exp.reports.summary import statistics
from treg_exp.training.captions import styled_caption
from treg_exp.training.corpus import Corpus
from treg_exp.training.retrieval import name_hits
from treg_exp.training.samples import draw_samples

#: Name -> ``{"mean": ..., "low": ..., "high": ..., "n": ...}``, with 95 % bootstrap bounds of the mean.
Figures = dict[str, dict[str, Any]]


@torch.no_grad()
def measure(
    pipe: StableDiffusionPipeline,
    corpus: Corpus,
    encoders: dict[str, Any],
    reconstructions: int = 300,
    samples: int = 96,
) -> Figures:
    """Measure every figure of the model card.

    Args:
        pipe: the exported prior, loaded from its folder.
        corpus: pictures and split.
        encoders: image-text encoders by the name that their columns start with.
        reconstructions: held-out pictures for the autoencoder.
        samples: held-out captions for text steering.

    Returns:
        ``autoencoder_psnr`` (dB) and ``autoencoder_ssim``; per encoder ``<name>_top1`` and ``<name>_top5``, the
        shares of held-out pictures whose name is the best, or among the best five, of all names; and
        ``sample_<name>_top1`` and ``_top5``, the same for samples drawn from the captions of held-out pictures.
    """
    held_out = torch.tensor(corpus.split.held_out)
    truth = corpus.as_float(_spread(held_out, reconstructions))
    decoded = torch.cat([_reconstruct(pipe, part) for part in torch.split(truth, 50)])
    similarity = ssim(decoded, truth)
    values = {"autoencoder_psnr": psnr(decoded, truth)}
    if similarity is not None:
        values["autoencoder_ssim"] = similarity
    prompted = _spread(held_out, samples)
    pictures = [corpus.pictures[index] for index in prompted.tolist()]
    drawn = draw_samples(pipe, [styled_caption(picture.name, picture.style) for picture in pictures])
    for name, encoder in encoders.items():
        text = encoder.text_features(corpus.names)
        for prefix, images, indices in (("", corpus.as_float(held_out), held_out), ("sample_", drawn, prompted)):
            features = torch.cat([encoder.image_features(part) for part in torch.split(images, 100)])
            hits = name_hits(features, text, corpus.labels[indices])
            values.update({f"{prefix}{name}_{top}": hit for top, hit in hits.items()})
    return {name: _rounded(statistics(value.tolist())) for name, value in values.items()}


def _spread(indices: Tensor, count: int) -> Tensor:
    return indices[torch.linspace(0, len(indices) - 1, min(count, len(indices))).long()]


def _reconstruct(pipe: Any, images: Tensor) -> Tensor:
    decoded: Tensor = pipe.vae.decode(pipe.vae.encode(images).latent_dist.mean).sample
    return decoded.clamp(-1.0, 1.0)


def _rounded(found: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}
