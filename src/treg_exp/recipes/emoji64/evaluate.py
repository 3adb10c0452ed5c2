"""Figures of a finished prior, measured on what it was never trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from treg_exp.metrics.fidelity import psnr, ssim
from treg_exp.metrics.networks.lpips import load_lpips
from treg_exp.recipes.emoji64.captions import styled_caption
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.distributions import distances
from treg_exp.recipes.emoji64.nearest import SAME, nearest_training
from treg_exp.recipes.emoji64.retrieval import hits_of, name_ranks
from treg_exp.recipes.emoji64.samples import Sampling, draw_samples
from treg_exp.reports.summary import statistics

#: Name -> ``{"mean": ..., "low": ..., "high": ..., "n": ...}``, with 95 % bootstrap bounds of the mean.
Figures = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Evaluation:
    """Everything that the model card tells.

    Attributes:
        values: column -> one number per picture: of all held-out pictures, or of the samples where the column
            starts with ``sample_``.
        categories: column -> what each of these pictures shows ("food & drink"), in the same order.
        prompted: (M,) int64 positions of the pictures whose captions the samples were drawn from.
        samples: (M, 3, 64, 64) in [-1, 1].
        nearest: (M,) int64 positions of the training pictures that are nearest to the samples.
        between: figures that belong to a set of pictures, not to single ones.
    """

    values: Mapping[str, Tensor]
    categories: Mapping[str, Sequence[str]]
    prompted: Tensor
    samples: Tensor
    nearest: Tensor
    between: Figures

    def figures(self) -> Figures:
        """Mean and bounds of every column."""
        return {name: _rounded(statistics(value.tolist())) for name, value in self.values.items()} | self.between

    def by_category(self) -> dict[str, Figures]:
        """The same for the pictures of each category."""
        found: dict[str, Figures] = {}
        for name, value in self.values.items():
            for category in sorted(set(self.categories[name])):
                own = [v for v, c in zip(value.tolist(), self.categories[name], strict=True) if c == category]
                found.setdefault(category, {})[name] = _rounded(statistics(own))
        return dict(sorted(found.items()))

    def worst(self, count: int) -> list[int]:
        """Samples whose right name comes last by the judge (by CLIP, where there is none), the very last first."""
        rank = self.values["sample_judge_rank" if "sample_judge_rank" in self.values else "sample_clip_rank"]
        return rank.argsort(descending=True)[:count].tolist()

    def copies(self, count: int) -> list[int]:
        """Samples that are nearest to a training picture, the nearest first."""
        return self.values["sample_nearest"].argsort()[:count].tolist()


@torch.no_grad()
def evaluate(
    pipe: StableDiffusionPipeline,
    corpus: Corpus,
    encoders: Mapping[str, Any],
    samples: int = 300,
    sampling: Sampling | None = None,
) -> Evaluation:
    """Measure every figure of the model card.

    Args:
        pipe: the exported prior, loaded from its folder.
        corpus: pictures and split.
        encoders: image-text encoders by the name that their columns start with; distances between sets are
            taken in the features of ``judge``, if it is there.
        samples: held-out captions for text steering.
        sampling: how samples are drawn; None for the defaults.

    Returns:
        Columns ``autoencoder_psnr`` (dB), ``_ssim`` and ``_lpips``; per encoder ``<name>_top1`` and ``_top5``, whether
        the name of a held-out picture is the best, or among the best five, of all names; ``sample_<name>_top1`` and
        ``_top5``, the same for samples drawn from captions of held-out pictures, and ``sample_<name>_rank``;
        ``nearest`` and ``sample_nearest``, RMSE to the nearest training picture in units of [-1, 1], and
        ``same`` and ``sample_same``, whether that is a drawing of the same thing.
    """
    held_out = torch.tensor(corpus.split.held_out)
    truth = corpus.as_float(held_out)
    decoded = torch.cat([_reconstruct(pipe, part) for part in torch.split(truth, 50)])
    values: dict[str, Tensor] = {"autoencoder_psnr": psnr(decoded, truth)}
    if (similarity := ssim(decoded, truth)) is not None:
        values["autoencoder_ssim"] = similarity
    pairs = zip(torch.split(decoded, 50), torch.split(truth, 50), strict=True)
    values["autoencoder_lpips"] = torch.cat([load_lpips()(*pair) for pair in pairs])

    prompted = spread(held_out, samples)
    pictures = [corpus.pictures[index] for index in prompted.tolist()]
    sampling = sampling or Sampling()
    captions = [styled_caption(picture.name, picture.style) for picture in pictures]
    drawn = draw_samples(pipe, captions, sampling.guidance, sampling.steps)
    between: Figures = {}
    for name, encoder in encoders.items():
        text = encoder.text_features(corpus.names)
        real, fake = (features_of(encoder, images) for images in (truth, drawn))
        for prefix, features, indices in (("", real, held_out), ("sample_", fake, prompted)):
            ranks = name_ranks(features, text, corpus.labels[indices])
            values.update({f"{prefix}{name}_{top}": hit for top, hit in hits_of(ranks).items()})
        values[f"sample_{name}_rank"] = ranks.double()
        if name == "judge":
            between = {f"sample_{key}": _rounded(figure) for key, figure in distances(real, fake).items()}
    distance, nearest = nearest_training(drawn, corpus)
    for prefix, rmse in (("", nearest_training(truth, corpus)[0]), ("sample_", distance)):
        values[f"{prefix}nearest"], values[f"{prefix}same"] = rmse, (rmse < SAME).double()
    of = {"": [corpus.pictures[i].category for i in held_out.tolist()], "sample_": [p.category for p in pictures]}
    categories = {name: of["sample_" if name.startswith("sample_") else ""] for name in values}
    return Evaluation(values, categories, prompted, drawn, nearest, between)


def spread(indices: Tensor, count: int) -> Tensor:
    """At most so many of them, at equal distances."""
    return indices[torch.linspace(0, len(indices) - 1, min(count, len(indices))).long()]


def features_of(encoder: Any, images: Tensor) -> Tensor:
    """(B, F) image features, a hundred pictures at a time."""
    return torch.cat([encoder.image_features(part) for part in torch.split(images, 100)])


def _reconstruct(pipe: Any, images: Tensor) -> Tensor:
    decoded: Tensor = pipe.vae.decode(pipe.vae.encode(images).latent_dist.mean).sample
    return decoded.clamp(-1.0, 1.0)


def _rounded(found: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in found.items()}
