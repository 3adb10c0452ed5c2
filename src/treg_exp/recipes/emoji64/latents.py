"""The corpus as latents, encoded once: what the denoiser is trained on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from treg_exp.noise import generator as keyed_generator
from treg_exp.recipes.emoji64.augment import jitter
from treg_exp.recipes.emoji64.corpus import Corpus


def picture_versions(corpus: Corpus, versions: int, device: torch.device) -> Iterator[Tensor]:
    """All pictures as they are, then all of them slightly moved, again and again, in batches of at most 64.

    Args:
        corpus: of N pictures.
        versions: how many variants of each picture, the plain one included.
        device: where the batches will be.

    Yields:
        (B, 3, 64, 64) in [-1, 1]; V N pictures in all, the same ones in every call.
    """
    generator = keyed_generator("latent versions")
    for version in range(versions):
        for indices in torch.split(torch.arange(len(corpus.pictures)), 64):
            images = corpus.as_float(indices).to(device)
            if version:
                images = jitter(images, generator, shift=2.0, scale=(0.92, 1.04), flip=corpus.flippable[indices])
            yield images


def computed_once(
    file: Path, network: nn.Module, facts: list[Any], device: torch.device, compute: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Read tensors from a file, or compute and keep them: that takes minutes, and a kill is quick.

    Args:
        file: where they are kept.
        network: what they are computed with; other weights make them anew.
        facts: what else they depend on.
        device: where they are to be.
        compute: makes them.
    """
    weights = torch.cat([value.flatten() for value in network.parameters()])
    key = [*facts, hashlib.sha256(weights.cpu().numpy().tobytes()).hexdigest()]
    if file.is_file() and (kept := torch.load(file, weights_only=True, map_location=device))["key"] == key:
        return {name: value for name, value in kept.items() if name != "key"}
    made = compute()
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    torch.save({"key": key, **{name: value.cpu() for name, value in made.items()}}, partial)
    os.replace(partial, file)
    return made


class LatentBank:
    """Posterior parameters of every picture in several jittered versions, encoded once.

    Attributes:
        mean: (V, N, 4, 16, 16) float16; version 0 is the picture as it is.
        std: likewise.
        scaling_factor: multiplies a latent so that its standard deviation is 1.
    """

    def __init__(self, mean: Tensor, std: Tensor, scaling_factor: float) -> None:
        self.mean = mean
        self.std = std
        self.scaling_factor = scaling_factor

    def __deepcopy__(self, memo: dict[int, object]) -> LatentBank:
        """Itself, for the reason that `Corpus` has."""
        return self

    @classmethod
    def cached(
        cls,
        file: Path,
        vae: AutoencoderKL,
        corpus: Corpus,
        scaling_factor: float,
        versions: int = 6,
        device: torch.device | None = None,
    ) -> LatentBank:
        """Encode the corpus, or read what was encoded with the same encoder.

        Args:
            file: where the posterior parameters are kept.
            vae: see `encode`, as are the others.
            corpus: likewise.
            scaling_factor: likewise.
            versions: likewise.
            device: where to encode and to keep them; None for the CPU.
        """
        device = device or torch.device("cpu")

        def encode() -> dict[str, Tensor]:
            bank = cls.encode(vae.to(device), corpus, scaling_factor, versions)
            return {"mean": bank.mean, "std": bank.std}

        facts = [versions, len(corpus.pictures)]
        kept = computed_once(file, nn.ModuleList([vae.encoder, vae.quant_conv]), facts, device, encode)
        return cls(kept["mean"], kept["std"], scaling_factor)

    @classmethod
    @torch.no_grad()
    def encode(cls, vae: AutoencoderKL, corpus: Corpus, scaling_factor: float, versions: int = 6) -> LatentBank:
        """Encode the corpus where the autoencoder is.

        Args:
            vae: the trained autoencoder.
            corpus: what to encode.
            scaling_factor: of the autoencoder.
            versions: how many variants of each picture, the plain one included.
        """
        means, stds = [], []
        vae = vae.to(memory_format=torch.channels_last)  # twice as fast
        for images in picture_versions(corpus, versions, vae.device):
            posterior = vae.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist
            means.append(posterior.mean.half())
            stds.append(posterior.std.half())
        shape = (versions, len(corpus.pictures), *means[0].shape[1:])
        return cls(torch.cat(means).view(shape), torch.cat(stds).view(shape), scaling_factor)

    def draw_versions(self, count: int, generator: torch.Generator) -> Tensor:
        """Half of the draws are the plain picture: it is the one that restorations are compared with.

        Args:
            count: how many.
            generator: source of the draws, on any device.

        Returns:
            (B,) int64, on the device of the latents.
        """
        version = torch.randint(len(self.mean), (count,), generator=generator, device=generator.device)
        version[torch.rand(count, generator=generator, device=generator.device) < 0.5] = 0
        return version.to(self.mean.device)

    def sample(self, versions: Tensor, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Sample scaled latents.

        Args:
            versions: (B,) int64, as from `draw_versions`.
            indices: (B,) int64 positions in the corpus, on the device of the latents.
            generator: source of the draws, on any device.

        Returns:
            (B, 4, 16, 16) float32 of about unit deviation.
        """
        mean, std = self.mean[versions, indices].float(), self.std[versions, indices].float()
        noise = torch.randn(mean.shape, generator=generator, device=generator.device).to(mean.device)
        return (mean + std * noise) * self.scaling_factor
