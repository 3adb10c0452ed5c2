"""Flux: a rectified flow on latents, told by a T5 and the pooled text of a CLIP tower."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from treg_exp.errors import FieldError
from treg_exp.priors.denoisers.flux import PATCH, FluxDenoiser
from treg_exp.priors.families.autoencoder import AUTOENCODER, factor_of, load_autoencoder, read_autoencoder
from treg_exp.priors.families.base import Options
from treg_exp.priors.families.image_tower import load_open_clip, open_clip_width
from treg_exp.priors.families.schedules import flow
from treg_exp.priors.folder_files import check_class, load_network, read_config
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.priors.texts.flux import FluxText, flux_layout
from treg_exp.priors.texts.t5 import T5
from treg_exp.priors.texts.window import text_windows
from treg_exp.priors.tokenizers import load_tokenizer

DENOISER = ("transformer", "FluxTransformer2DModel")
NETWORKS = {
    "vae": AUTOENCODER,
    "transformer": "diffusers.FluxTransformer2DModel",
    "text_encoder": "transformers.CLIPTextModel",
    "text_encoder_2": "transformers.T5EncoderModel",
}
TOKENIZERS = {"tokenizer": "CLIPTokenizer", "tokenizer_2": "T5TokenizerFast"}
USES_IMAGE_ENCODER = False  # where there is one, it is that of an image prompt
GUIDANCE = 3.5  # told to the network unless another scale is asked for, as by diffusers' pipeline
T5_TOKENS = 512  # default of diffusers' pipeline


def networks(folder: Path) -> Mapping[str, str]:
    """See ``Family``."""
    return NETWORKS


def tokenizers(folder: Path) -> Mapping[str, str]:
    """See ``Family``."""
    return TOKENIZERS


def read_info(folder: Path, options: Options) -> PriorInfo:
    """See ``Family``."""
    transformer = read_config(folder / "transformer")
    vae = read_autoencoder(folder, transformer.whole("in_channels") // PATCH**2)
    factor, (height, width) = factor_of(vae), vae.sides("sample_size")  # the transformer names no size
    _check_texts(folder, transformer.whole("joint_attention_dim"), transformer.whole("pooled_projection_dim"))
    if "axes_dims_rope" in transformer and sum(transformer.wholes("axes_dims_rope")) != transformer.whole(
        "attention_head_dim"
    ):
        raise transformer.wrong("axes_dims_rope", "its numbers must add up to attention_head_dim")
    schedule, kind = flow(folder, options.timestep_spacing, PATCH, ends_at_step=True)
    return PriorInfo(
        medium="image",
        signal_shape=(3, height, width),
        latent_channels=vae["latent_channels"],
        factor=factor,
        multiple=factor * PATCH,
        schedule=schedule,
        kind=kind,
        text_layout=flux_layout(transformer["joint_attention_dim"]),
        feature_width=open_clip_width(options),
        text_windows=text_windows(folder, tokenizers(folder), options.t5_tokens or T5_TOKENS),
    )


def load(folder: Path, info: PriorInfo, options: Options, device: torch.device) -> Prior:
    """See ``Family``."""
    transformer = load_network(folder, "transformer", NETWORKS["transformer"])
    if options.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    t5 = T5(
        load_network(folder, "text_encoder_2", NETWORKS["text_encoder_2"]),
        load_tokenizer(folder, "tokenizer_2", TOKENIZERS["tokenizer_2"]),
        options.t5_tokens or T5_TOKENS,
        options.precision,
        device,
    )
    clip = load_network(folder, "text_encoder", NETWORKS["text_encoder"])
    guidance = GUIDANCE if options.embedded_guidance is None else options.embedded_guidance
    return Prior(
        info=info,
        codec=load_autoencoder(folder, options, device),
        denoiser=FluxDenoiser(transformer, options.precision, device, guidance),
        text=FluxText(clip, load_tokenizer(folder, "tokenizer", TOKENIZERS["tokenizer"]), t5, device),
        image_text=load_open_clip(options, device),
    )


def _check_texts(folder: Path, width: int, pooled: int) -> None:
    """Refuse text encoders of another model."""
    check_class(folder, "text_encoder", "CLIPTextModel")
    check_class(folder, "text_encoder_2", "T5EncoderModel")
    found = {
        ("text_encoder", "pooled_projection_dim", pooled): read_config(folder / "text_encoder").whole("hidden_size"),
        ("text_encoder_2", "joint_attention_dim", width): read_config(folder / "text_encoder_2").whole("d_model"),
    }
    for (part, field, wanted), own in found.items():
        if own != wanted:
            raise FieldError(
                "path", folder, f"{part} gives {own} numbers, and transformer/config.json wants {field}={wanted}: "
                "these parts are of two models"
            )  # fmt: skip
