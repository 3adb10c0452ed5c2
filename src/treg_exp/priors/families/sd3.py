"""Stable Diffusion 3 and 3.5: a rectified flow on latents, told by two CLIP towers and, where it is there, a T5."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from treg_exp.errors import FieldError
from treg_exp.priors.checked_json import Section
from treg_exp.priors.denoisers.sd3 import SD3Denoiser
from treg_exp.priors.families.autoencoder import AUTOENCODER, factor_of, load_autoencoder, read_autoencoder
from treg_exp.priors.families.base import Options
from treg_exp.priors.families.image_tower import load_open_clip, open_clip_width
from treg_exp.priors.families.schedules import flow
from treg_exp.priors.folder_files import check_class, load_network, read_config
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.priors.texts.sd3 import SD3Text, sd3_layout
from treg_exp.priors.texts.t5 import T5
from treg_exp.priors.texts.window import text_windows
from treg_exp.priors.tokenizers import load_tokenizer

DENOISER = ("transformer", "SD3Transformer2DModel")
USES_IMAGE_ENCODER = False  # where there is one, it is that of an image prompt
TRANSFORMER = "diffusers.SD3Transformer2DModel"
CLIPS = dict.fromkeys(("text_encoder", "text_encoder_2"), "transformers.CLIPTextModelWithProjection")
THIRD = {"text_encoder_3": "transformers.T5EncoderModel"}
TOKENIZERS = dict.fromkeys(("tokenizer", "tokenizer_2"), "CLIPTokenizer")
THIRD_TOKENIZER = {"tokenizer_3": "T5TokenizerFast"}
T5_TOKENS = 256  # default of diffusers' pipeline


def networks(folder: Path) -> Mapping[str, str]:
    """See ``Family``."""
    return {"vae": AUTOENCODER, "transformer": TRANSFORMER, **CLIPS, **(THIRD if has_t5(folder) else {})}


def tokenizers(folder: Path) -> Mapping[str, str]:
    """See ``Family``."""
    return TOKENIZERS | (THIRD_TOKENIZER if has_t5(folder) else {})


def has_t5(folder: Path) -> bool:
    """Whether the third text encoder, which takes most of the memory, was kept."""
    return (folder / "text_encoder_3").is_dir()


def read_info(folder: Path, options: Options) -> PriorInfo:
    """See ``Family``."""
    transformer = read_config(folder / "transformer")
    factor = factor_of(read_autoencoder(folder, transformer.whole("in_channels")))
    patch = transformer.whole("patch_size")
    widths, clip_rows, t5_width = _check_texts(folder, transformer)
    schedule, kind = flow(folder, options.timestep_spacing, patch)
    height, width = (side * factor for side in transformer.sides("sample_size"))
    return PriorInfo(
        medium="image",
        signal_shape=(3, height, width),
        latent_channels=transformer["in_channels"],
        factor=factor,
        multiple=factor * patch,
        longest_side=factor * patch * transformer.whole("pos_embed_max_size"),
        schedule=schedule,
        kind=kind,
        text_layout=sd3_layout(widths, clip_rows, t5_width),
        feature_width=open_clip_width(options),
        text_windows=text_windows(folder, tokenizers(folder), options.t5_tokens or T5_TOKENS),
    )


def load(folder: Path, info: PriorInfo, options: Options, device: torch.device) -> Prior:
    """See ``Family``."""
    transformer = load_network(folder, "transformer", TRANSFORMER)
    if options.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    rows, t5 = options.t5_tokens or T5_TOKENS, None
    if has_t5(folder):
        encoder = load_network(folder, "text_encoder_3", THIRD["text_encoder_3"])
        tokenizer = load_tokenizer(folder, "tokenizer_3", THIRD_TOKENIZER["tokenizer_3"])
        t5 = T5(encoder, tokenizer, rows, options.precision, device)
    clips = [load_network(folder, part, network) for part, network in CLIPS.items()]
    own = [load_tokenizer(folder, part, name) for part, name in TOKENIZERS.items()]
    return Prior(
        info=info,
        codec=load_autoencoder(folder, options, device),
        denoiser=SD3Denoiser(transformer, options.precision, device),
        text=SD3Text(clips, own, t5, rows, transformer.config.joint_attention_dim, device),
        image_text=load_open_clip(options, device),
    )


def _check_texts(folder: Path, transformer: Section) -> tuple[list[int], int, int | None]:
    """Widths of the CLIP towers, their rows, and the width of T5; all must fit the denoiser."""
    for part in CLIPS:
        check_class(folder, part, "CLIPTextModelWithProjection")
    clips = [read_config(folder / part) for part in CLIPS]
    widths, width = [clip.whole("hidden_size") for clip in clips], transformer.whole("joint_attention_dim")
    wide = "transformer/config.json wants joint_attention_dim"
    if sum(widths) > width:
        raise FieldError(
            "path", folder, f"the CLIP encoders give {' + '.join(map(str, widths))} numbers per token, and {wide}="
            f"{width}: these parts are of two models"
        )  # fmt: skip
    pooled, told = [clip.whole("projection_dim") for clip in clips], transformer.whole("pooled_projection_dim")
    if sum(pooled) != told:
        raise FieldError(
            "path", folder, f"the CLIP encoders give {' + '.join(map(str, pooled))} numbers per text, and "
            f"transformer/config.json wants pooled_projection_dim={told}: these parts are of two models"
        )  # fmt: skip
    if not has_t5(folder):
        return widths, clips[0].whole("max_position_embeddings"), None
    check_class(folder, "text_encoder_3", "T5EncoderModel")
    if (own := read_config(folder / "text_encoder_3").whole("d_model")) != width:
        raise FieldError(
            "path", folder, f"text_encoder_3 gives {own} numbers per token, and {wide}={width}: these parts are of two "
            "models"
        )  # fmt: skip
    return widths, clips[0].whole("max_position_embeddings"), own
