"""Stable Diffusion 1, 2 and XL, and what was distilled from them: a U-Net with cross-attention.

It works on latents, or on pictures themselves where the folder has no autoencoder. Such a network takes three channels,
or three for each pixel of a patch: 12 channels are patches of 2 x 2 pixels, which cost a quarter of the time. Its
scheduler says whether it is a diffusion model or was trained as a rectified flow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from treg_exp.errors import FieldError
from treg_exp.priors.checked_json import Section, read_section
from treg_exp.priors.codecs.identity import IdentityCodec
from treg_exp.priors.denoisers.unet import UNetDenoiser
from treg_exp.priors.families.autoencoder import AUTOENCODER, factor_of, load_autoencoder, read_autoencoder
from treg_exp.priors.families.base import Options
from treg_exp.priors.families.image_tower import feature_width_of, load_image_text
from treg_exp.priors.families.schedules import table_or_flow
from treg_exp.priors.folder_files import INDEX, load_network, read_config
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.precision import autocast_dtype
from treg_exp.priors.prior import Codec, Prior
from treg_exp.priors.texts.clip import ClipPairText, ClipText, side_by_side
from treg_exp.priors.texts.window import text_windows
from treg_exp.priors.tokenizers import load_tokenizer

DENOISER = ("unet", "UNet2DConditionModel")
USES_IMAGE_ENCODER = True
NETWORKS = {
    "vae": AUTOENCODER,
    "unet": "diffusers.UNet2DConditionModel",
    "text_encoder": "transformers.CLIPTextModel",
}
SECOND = {"text_encoder_2": "transformers.CLIPTextModelWithProjection"}  # of SDXL
TOKENIZER = "CLIPTokenizer"
RGB = 3
PATCH = "patch"  # in model_index.json: side of the patches, where it is not 1
PATCHES = (1, 2, 4)  # sides of patches of pixels that are channels of one place
SIZES = 6  # numbers that SDXL is told of the size of an image: its own, the crop's corner, the size meant
LCM_GUIDANCE = 8.5  # told to a latent consistency model unless another scale is asked for, as by diffusers' pipeline


def networks(folder: Path) -> Mapping[str, str]:
    """See ``Family``."""
    if is_xl(folder) and _index(folder).flag("requires_aesthetics_score", False):
        raise FieldError("path", folder, "a refiner of SDXL, which is not supported; take the base model")
    needed = {part: network for part, network in NETWORKS.items() if part != "vae" or not on_pixels(folder)}
    return needed | (SECOND if is_xl(folder) else {})


def tokenizers(folder: Path) -> Mapping[str, str]:
    """See ``Family``."""
    return dict.fromkeys(("tokenizer", "tokenizer_2") if is_xl(folder) else ("tokenizer",), TOKENIZER)


def is_xl(folder: Path) -> bool:
    """Whether the denoiser is told two texts and the picture's size."""
    file = folder / "unet" / "config.json"
    return file.is_file() and read_config(folder / "unet").get("addition_embed_type") == "text_time"


def on_pixels(folder: Path) -> bool:
    """Whether the denoiser takes pictures themselves."""
    return patch_of(folder) is not None


def patch_of(folder: Path) -> int | None:
    """Side of the patches of pixels that a denoiser of pictures takes; None for one of latents.

    A network of 12 channels may as well be one of latents whose autoencoder is missing, so the folder has to say it.
    """
    if (folder / "vae").is_dir() or not (folder / "unet" / "config.json").is_file():
        return None
    unet, side = read_config(folder / "unet"), _index(folder).get(PATCH, 1)
    if side not in PATCHES:
        raise FieldError(
            "path", folder, f"{INDEX} says {PATCH}={side}; it must be one of {', '.join(map(str, PATCHES))}"
        )
    channels = (unet.get("in_channels"), unet.get("out_channels"))
    return int(side) if channels == (RGB * side**2,) * 2 else None


def read_info(folder: Path, options: Options) -> PriorInfo:
    """See ``Family``."""
    unet = read_config(folder / "unet")
    _check_conditions(folder, unet)
    patch = patch_of(folder)
    factor = 1 if patch else factor_of(read_autoencoder(folder, unet.whole("in_channels")))
    cell = patch or factor  # pixels of a side that the network sees as one place
    encoders = ("text_encoder", "text_encoder_2") if is_xl(folder) else ("text_encoder",)
    widths = [read_config(folder / part).whole("hidden_size") for part in encoders]
    if sum(widths) != unet["cross_attention_dim"]:
        raise FieldError(
            "path", folder, f"the text encoders give {' + '.join(map(str, widths))} numbers per token, and "
            f"unet/config.json wants cross_attention_dim={unet['cross_attention_dim']}: these parts are of two models"
        )  # fmt: skip
    schedule, kind = table_or_flow(folder, options.timestep_spacing)
    return PriorInfo(
        medium="image",
        signal_shape=(3, *(side * cell for side in unet.sides("sample_size"))),
        latent_channels=RGB if patch else unet["in_channels"],
        factor=factor,
        multiple=cell * 2 ** (len(unet.wholes("block_out_channels")) - 1),
        schedule=schedule,
        kind=kind,
        text_layout=side_by_side(widths),
        feature_width=feature_width_of(folder, options),
        text_windows=text_windows(folder, tokenizers(folder)),
    )


def load(folder: Path, info: PriorInfo, options: Options, device: torch.device) -> Prior:
    """See ``Family``."""
    unet = load_network(folder, "unet", NETWORKS["unet"])
    encoder = load_network(folder, "text_encoder", NETWORKS["text_encoder"])
    tokenizer = load_tokenizer(folder, "tokenizer", TOKENIZER)
    text: ClipText | ClipPairText = ClipText(encoder, tokenizer, device)
    if is_xl(folder):
        second = load_network(folder, "text_encoder_2", SECOND["text_encoder_2"])
        both = (tokenizer, load_tokenizer(folder, "tokenizer_2", TOKENIZER))
        text = ClipPairText((encoder, second), both, device, _empty_is_zero(folder))
    if options.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    # The autoencoder of SDXL overflows in float16, and its configuration says so. (Those of other kinds say so, too, by
    # diffusers' default, which nothing but the pipeline of SDXL heeds.)
    half = autocast_dtype(options.precision, device) == torch.float16
    codec: Codec = IdentityCodec()
    patch = patch_of(folder)
    if not patch:
        overflows = half and is_xl(folder) and read_config(folder / "vae").get("force_upcast", True)
        codec = load_autoencoder(folder, options, device, "fp32" if overflows else None)
    guidance = LCM_GUIDANCE if options.embedded_guidance is None else options.embedded_guidance
    return Prior(
        info=info,
        codec=codec,
        denoiser=UNetDenoiser(unet, info.kind, info.factor, options.precision, device, guidance, patch or 1),
        text=text,
        image_text=load_image_text(folder, options, encoder, tokenizer, device),
    )


def _check_conditions(folder: Path, unet: Section) -> None:
    """Refuse a denoiser that is told more than texts, and the size of the image in SDXL's way."""
    if unet.get("class_embed_type") or unet.get("num_class_embeds"):
        raise FieldError("path", folder, "the denoiser is told a class, which is not supported; take one without")
    if not is_xl(folder):
        return
    _empty_is_zero(folder)  # refuses what cannot be read
    pooled = read_config(folder / "text_encoder_2").whole("projection_dim")
    told = unet.whole("projection_class_embeddings_input_dim")
    if told != pooled + SIZES * unet.whole("addition_time_embed_dim"):
        raise FieldError(
            "path", folder, f"the denoiser is told {told} numbers (projection_class_embeddings_input_dim), and not the "
            f"pooled text ({pooled}) and {SIZES} times addition_time_embed_dim; other conditions are not supported"
        )  # fmt: skip


def _empty_is_zero(folder: Path) -> bool:
    """Whether an SDXL model means zeros by the empty text: what ``model_index.json`` says, True by default."""
    return _index(folder).flag("force_zeros_for_empty_prompt", True)


def _index(folder: Path) -> Section:
    """What ``model_index.json`` says; nothing where there is none."""
    file = folder / INDEX
    return read_section(file) if file.is_file() else Section({}, file)
