"""Figures of a finished prior, measured on what it was never trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from treg_exp.training.autoencoder import psnr
from treg_exp.training.captions import styled_caption
from treg_exp.training.clip import tokenize
from treg_exp.training.corpus import Corpus

#: The sheet of samples: both free prompts and prompts in the form of the test set.
SHEET_PROMPTS = (
    "red apple, fluent style",
    "green apple, fluent style",
    "red apple, noto style",
    "red apple, twemoji style",
    "relieved face, fluent style",
    "angry face, noto style",
    "winking face, twemoji style",
    "red heart, noto style",
    "blue heart, fluent style",
    "tiger, twemoji style",
    "pig face, fluent style",
    "koala, noto style",
    "full moon, noto style",
    "crown, fluent style",
    "luggage, fluent style",
    "octopus, noto style",
    "flag of france, noto style",
    "police car, twemoji style",
    "slice of pizza, twemoji style",
    "sunflower, fluent style",
    "a photo of a banana",
    "an emoji of a dog face",
    "a house",
    "",
)


@dataclass(frozen=True)
class Figures:
    """What the model card states.

    Attributes:
        autoencoder_psnr: mean over held-out pictures, dB.
        autoencoder_ssim: mean over the same pictures.
        clip_top1: share of held-out pictures whose name is the best match among all names.
        clip_top5: share whose name is among the best five.
        sample_top1: as `clip_top1`, for samples drawn from the captions of held-out pictures.
        sample_top5: as `clip_top5`, for the same samples.
        names: size of the label space.
    """

    autoencoder_psnr: float
    autoencoder_ssim: float
    clip_top1: float
    clip_top5: float
    sample_top1: float
    sample_top5: float
    names: int

    def rounded(self) -> dict[str, float]:
        """The figures as they are published."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


@torch.no_grad()
def measure(pipe: StableDiffusionPipeline, corpus: Corpus, reconstructions: int = 300, samples: int = 96) -> Figures:
    """Measure every figure of the model card.

    Args:
        pipe: the exported prior, loaded from its folder.
        corpus: pictures and split.
        reconstructions: held-out pictures for the autoencoder.
        samples: held-out captions for text steering.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    held_out = torch.tensor(corpus.split.held_out)
    truth = corpus.as_float(_spread(held_out, reconstructions))
    decoded = torch.cat([_reconstruct(pipe, part) for part in torch.split(truth, 50)])
    text = _text_features(pipe, corpus.names)
    prompted = _spread(held_out, samples)
    pictures = [corpus.pictures[index] for index in prompted.tolist()]
    drawn = draw_samples(pipe, [styled_caption(picture.name, picture.style) for picture in pictures])
    top1, top5 = _retrieval(_image_features(pipe, corpus.as_float(held_out)), text, corpus.labels[held_out])
    sample_top1, sample_top5 = _retrieval(_image_features(pipe, drawn), text, corpus.labels[prompted])
    return Figures(
        autoencoder_psnr=psnr(decoded, truth).mean().item(),
        autoencoder_ssim=float(ssim((decoded + 1) / 2, (truth + 1) / 2, data_range=1.0)),
        clip_top1=top1,
        clip_top5=top5,
        sample_top1=sample_top1,
        sample_top5=sample_top5,
        names=len(corpus.names),
    )


def draw_samples(
    pipe: StableDiffusionPipeline, prompts: list[str], guidance: float = 4.0, steps: int = 50, batch: int = 32
) -> Tensor:
    """One sample per prompt, each from its own seed.

    Args:
        pipe: a loaded prior.
        prompts: B texts.
        guidance: scale of classifier-free guidance.
        steps: DDIM steps.
        batch: prompts per network call.

    Returns:
        (B, 3, 64, 64) in [-1, 1].
    """
    pipe.set_progress_bar_config(disable=True)
    parts = []
    for start in range(0, len(prompts), batch):
        chunk = prompts[start : start + batch]
        generators = [torch.Generator().manual_seed(start + offset) for offset in range(len(chunk))]
        drawn = pipe(chunk, guidance_scale=guidance, num_inference_steps=steps, generator=generators, output_type="pt")
        parts.append(drawn.images.float() * 2.0 - 1.0)
    return torch.cat(parts)


def contact_sheet(images: Tensor, columns: int = 6, zoom: int = 2) -> Tensor:
    """Arrange pictures in rows.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        columns: pictures per row.
        zoom: integer magnification.

    Returns:
        (3, rows * H * zoom, columns * W * zoom) in [-1, 1], missing places white.
    """
    count, channels, height, width = images.shape
    missing = -count % columns
    padded = torch.cat([images, torch.ones(missing, channels, height, width)])
    grid = padded.view(-1, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    sheet = grid.reshape(channels, -1, columns * width)
    return sheet.repeat_interleave(zoom, dim=1).repeat_interleave(zoom, dim=2)


def _spread(indices: Tensor, count: int) -> Tensor:
    return indices[torch.linspace(0, len(indices) - 1, min(count, len(indices))).long()]


def _reconstruct(pipe: Any, images: Tensor) -> Tensor:
    decoded: Tensor = pipe.vae.decode(pipe.vae.encode(images).latent_dist.mean).sample
    return decoded.clamp(-1.0, 1.0)


def _text_features(pipe: Any, prompts: list[str]) -> Tensor:
    features = pipe.text_encoder(tokenize(pipe.tokenizer, prompts)).pooler_output
    return torch.nn.functional.normalize(features, dim=-1)


def _image_features(pipe: Any, images: Tensor) -> Tensor:
    return torch.nn.functional.normalize(pipe.image_encoder(images).image_embeds, dim=-1)


def _retrieval(image: Tensor, text: Tensor, labels: Tensor) -> tuple[float, float]:
    best = (image @ text.T).topk(min(5, len(text)), dim=1).indices
    hits = best == labels[:, None]
    return hits[:, 0].float().mean().item(), hits.any(dim=1).float().mean().item()
