"""Stable Diffusion 1, 2 and XL, and what was distilled from them: a U-Net with cross-attention on latents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from treg_exp.errors import FieldError
from treg_exp.priors.denoisers.unet import UNetDenoiser
from treg_exp.priors.families.autoencoder import factor_of, load_autoencoder, read_autoencoder
from treg_exp.priors.families.base import Options
from treg_exp.priors.families.image_tower import feature_width_of, load_image_text
from treg_exp.priors.families.schedules import variance_preserving
from treg_exp.priors.folder_files import WEIGHTS, load_network, read_config
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.precision import autocast_dtype
from treg_exp.priors.prior import Prior
from treg_exp.priors.texts.clip import ClipPairText, ClipText, side_by_side
from treg_exp.priors.texts.window import TextWindow

DENOISER = ("unet", "UNet2DConditionModel")
USES_IMAGE_ENCODER = True
NETWORKS = {"vae": WEIGHTS, "unet": WEIGHTS, "text_encoder": "model"}
SECOND = {"text_encoder_2": "model"}  # of SDXL
LCM_GUIDANCE = 8.5  # told to a latent consistency model unless another scale is asked for, as by diffusers' pipeline


def networks(folder: Path) -> Mapping[str, str]:
    """See ``Family``."""
    return NETWORKS | (SECOND if is_xl(folder) else {})


def tokenizers(folder: Path) -> tuple[str, ...]:
    """See ``Family``."""
    return ("tokenizer", "tokenizer_2") if is_xl(folder) else ("tokenizer",)


def is_xl(folder: Path) -> bool:
    """Whether the denoiser is told two texts and the picture's size."""
    file = folder / "unet" / "config.json"
    return file.is_file() and read_config(folder / "unet").get("addition_embed_type") == "text_time"


def read_info(folder: Path, options: Options) -> PriorInfo:
    """See ``Family``."""
    unet = read_config(folder / "unet")
    factor = factor_of(read_autoencoder(folder, unet["in_channels"]))
    encoders = ("text_encoder", "text_encoder_2") if is_xl(folder) else ("text_encoder",)
    widths = [read_config(folder / part)["hidden_size"] for part in encoders]
    if sum(widths) != unet["cross_attention_dim"]:
        raise FieldError(
            "path", folder, f"the text encoders give {' + '.join(map(str, widths))} numbers per token, and "
            f"unet/config.json wants cross_attention_dim={unet['cross_attention_dim']}: these parts are of two models"
        )  # fmt: skip
    schedule, kind = variance_preserving(folder, options.timestep_spacing)
    return PriorInfo(
        medium="image",
        signal_shape=(3, unet["sample_size"] * factor, unet["sample_size"] * factor),
        latent_channels=unet["in_channels"],
        factor=factor,
        multiple=factor * 2 ** (len(unet["block_out_channels"]) - 1),
        schedule=schedule,
        kind=kind,
        text_layout=side_by_side(widths),
        feature_width=feature_width_of(folder, options),
        text_windows=tuple(TextWindow(folder / part) for part in tokenizers(folder)),
    )


def load(folder: Path, info: PriorInfo, options: Options, device: torch.device) -> Prior:
    """See ``Family``."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    stems = networks(folder)
    unet = load_network(folder, "unet", stems["unet"], UNet2DConditionModel)
    encoder = load_network(folder, "text_encoder", stems["text_encoder"], CLIPTextModel)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text: ClipText | ClipPairText = ClipText(encoder, tokenizer, device)
    if is_xl(folder):
        second = load_network(folder, "text_encoder_2", SECOND["text_encoder_2"], CLIPTextModelWithProjection)
        both = (tokenizer, CLIPTokenizer.from_pretrained(folder / "tokenizer_2"))
        text = ClipPairText((encoder, second), both, device, _empty_is_zero(folder))
    if options.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    # The autoencoder of SDXL overflows in float16, and its configuration says so. (Those of other kinds say so, too, by
    # diffusers' default, which nothing but the pipeline of SDXL heeds.)
    half = autocast_dtype(options.precision, device) == torch.float16
    overflows = half and is_xl(folder) and read_config(folder / "vae").get("force_upcast", True)
    guidance = LCM_GUIDANCE if options.embedded_guidance is None else options.embedded_guidance
    return Prior(
        info=info,
        codec=load_autoencoder(folder, options, device, "fp32" if overflows else None),
        denoiser=UNetDenoiser(unet, info.kind, info.factor, options.precision, device, guidance),
        text=text,
        image_text=load_image_text(folder, options, encoder, tokenizer, device),
    )


def _empty_is_zero(folder: Path) -> bool:
    """Whether an SDXL model means zeros by the empty text: what ``model_index.json`` says, True by default."""
    index = folder / "model_index.json"
    said = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
    return bool(said.get("force_zeros_for_empty_prompt", True))
