"""Pixel-space models without text: DDPM, and EDM's networks in diffusers layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from treg_exp.errors import FieldError
from treg_exp.priors.checked_json import Section
from treg_exp.priors.codecs.identity import IdentityCodec
from treg_exp.priors.denoisers.plain_unet import PlainUNetDenoiser
from treg_exp.priors.families.base import Options
from treg_exp.priors.families.image_tower import load_open_clip, open_clip_width
from treg_exp.priors.families.schedules import any_schedule, clip_range
from treg_exp.priors.folder_files import load_network, read_config
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior

DENOISER = ("unet", "UNet2DModel")
UNET = "diffusers.UNet2DModel"
USES_IMAGE_ENCODER = False
RGB = 3


def networks(folder: Path) -> Mapping[str, str]:
    """See ``Family``."""
    return {"unet": UNET}


def tokenizers(folder: Path) -> Mapping[str, str]:
    """See ``Family``."""
    return {}


def read_info(folder: Path, options: Options) -> PriorInfo:
    """See ``Family``."""
    unet = read_config(folder / "unet")
    _check_network(folder, unet)
    clip_range(folder)  # refuses what is not supported
    height, width = unet.sides("sample_size")
    schedule, kind = any_schedule(folder, options.timestep_spacing)
    return PriorInfo(
        medium="image",
        signal_shape=(RGB, height, width),
        latent_channels=RGB,
        factor=1,
        multiple=2 ** (len(unet.wholes("block_out_channels")) - 1),
        schedule=schedule,
        kind=kind,
        feature_width=open_clip_width(options),
    )


def load(folder: Path, info: PriorInfo, options: Options, device: torch.device) -> Prior:
    """See ``Family``."""
    unet = load_network(folder, "unet", UNET)
    if options.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    return Prior(
        info=info,
        codec=IdentityCodec(),
        denoiser=PlainUNetDenoiser(unet, info.kind, options.precision, device, clip_range(folder)),
        image_text=load_open_clip(options, device),
    )


def _check_network(folder: Path, unet: Section) -> None:
    if unet.get("class_embed_type") or unet.get("num_class_embeds"):
        raise FieldError("path", folder, "the denoiser is told a class, which is not supported; take one without")
    if not unet.get("sample_size"):
        raise FieldError("path", folder, "unet/config.json has no sample_size, which is the size of the images")
    if (unet["in_channels"], unet["out_channels"]) != (RGB, RGB):
        raise FieldError(
            "path", folder, f"the denoiser takes {unet['in_channels']} channels and gives {unet['out_channels']}; only "
            "RGB images are supported, and no learned variance"
        )  # fmt: skip
