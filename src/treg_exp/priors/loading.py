"""Load a prior from a folder in diffusers layout: the shipped one, Stable Diffusion, or a user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from treg_exp.priors.base import ImageTextEncoder
from treg_exp.priors.clip import FolderClip, tower_fields
from treg_exp.priors.folder import (
    NETWORKS,
    SECOND,
    TOWER,
    empty_is_zero,
    has_image_encoder,
    has_two_texts,
    prior_path,
    weights_variant,
)
from treg_exp.priors.info import load_schedule
from treg_exp.priors.latent import LatentDiffusion
from treg_exp.priors.layout import architecture_of
from treg_exp.priors.open_clip import OpenClipFiles
from treg_exp.priors.precision import check_precision
from treg_exp.priors.texts import OneText, Texts, TwoTexts
from treg_exp.schedule import Spacing


def load_prior(
    path: str = "emoji64",
    precision: str = "auto",
    device: str | torch.device = "cpu",
    image_encoder: bool = True,
    open_clip: OpenClipFiles | None = None,
    timestep_spacing: Spacing | None = None,
    embedded_guidance: float = 8.5,
    vae_slicing: bool = False,
    vae_tiling: bool = False,
    gradient_checkpointing: bool = False,
) -> LatentDiffusion:
    """A frozen latent diffusion prior.

    Only safetensors are read, never pickles; where there are only float16 weights, these.

    Args:
        path: a folder in diffusers layout, or a name (``emoji64``, ``tiny_random``), see :func:`prior_path`.
        precision: ``auto`` (bf16 where it is faster), ``fp32``, ``bf16`` or ``fp16``, of the networks.
        device: where the networks run.
        image_encoder: load ``image_encoder/`` where there is one (text alignment and adaptive negation need it).
        open_clip: an open_clip model to use instead of it.
        timestep_spacing: which timesteps a sampler visits, see ``Schedule``; None: what the folder's scheduler says.
        embedded_guidance: scale that a latent consistency model is told with its timestep, see ``LatentDiffusion``
            (8.5 is the default of diffusers' pipeline for them).
        vae_slicing: the autoencoder takes one image of a batch after the other.
        vae_tiling: it takes an image in overlapping tiles, half as high and wide as the images that it was trained on,
            which need less memory and differ a little at their seams.
        gradient_checkpointing: steps that take gradients through the networks compute activations twice instead of
            keeping them.

    Raises:
        ValueError: the folder is missing or incomplete, or a value is unknown.
    """
    folder, device = prior_path(path, image_encoder and open_clip is None), torch.device(device)
    schedule = load_schedule(folder / "scheduler" / "scheduler_config.json", timestep_spacing)
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.utils import is_accelerate_available
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    def load(part: str, network: Any, **settings: Any) -> Any:
        variant = weights_variant(folder / part, (NETWORKS | SECOND)[part]) or None
        return network.from_pretrained(folder / part, use_safetensors=True, variant=variant, **settings)

    # Asking for low_cpu_mem_usage without accelerate prints a warning.
    diffusers: dict[str, Any] = {"torch_dtype": torch.float32, "low_cpu_mem_usage": is_accelerate_available()}
    vae, unet = load("vae", AutoencoderKL, **diffusers), load("unet", UNet2DConditionModel, **diffusers)
    encoder = load("text_encoder", CLIPTextModel, dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    texts: Texts = OneText(encoder, tokenizer)
    if has_two_texts(folder):
        second = load("text_encoder_2", CLIPTextModelWithProjection, dtype=torch.float32)
        tokenizers = (tokenizer, CLIPTokenizer.from_pretrained(folder / "tokenizer_2"))
        texts = TwoTexts((encoder, second), tokenizers, empty_is_zero(folder))
    clip: ImageTextEncoder | None = None
    if open_clip:
        clip = open_clip.load(device)
    elif image_encoder and has_image_encoder(folder):
        clip = load_clip(folder / "image_encoder", encoder, tokenizer).to(device)
    if vae_slicing:
        vae.enable_slicing()
    if vae_tiling:
        tile(vae)
    if gradient_checkpointing:
        unet.enable_gradient_checkpointing()
        vae.enable_gradient_checkpointing()
    return LatentDiffusion(
        vae=vae,
        unet=unet,
        texts=texts,
        schedule=schedule,
        clip=clip,
        precision=check_precision(precision),
        device=device,
        embedded_guidance=embedded_guidance,
    )


def tile(vae: Any) -> None:
    """Make a diffusers autoencoder work in tiles of half its own size; diffusers' tiles begin above that size."""
    vae.enable_tiling()
    vae.tile_sample_min_size //= 2
    vae.tile_latent_min_size //= 2


def load_clip(folder: Path, text_encoder: Any, tokenizer: Any) -> FolderClip:
    """The image tower of ``folder`` beside the given text tower."""
    import transformers

    architecture = architecture_of(folder)
    tower_fields(architecture)  # refuses what would load but could not be used
    tower = getattr(transformers, architecture).from_pretrained(
        folder,
        dtype=torch.float32,
        use_safetensors=True,
        variant=weights_variant(folder, TOWER["image_encoder"]) or None,
    )
    statistics = json.loads((folder / "preprocessor_config.json").read_text())
    return FolderClip(tower, text_encoder, tokenizer, statistics["image_mean"], statistics["image_std"])
