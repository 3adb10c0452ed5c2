"""Models of waveforms without text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from treg_exp.errors import FieldError
from treg_exp.priors.checked_json import Section
from treg_exp.priors.codecs.identity import IdentityCodec
from treg_exp.priors.denoisers.plain_unet import PlainUNetDenoiser
from treg_exp.priors.families.base import Options
from treg_exp.priors.families.schedules import any_schedule, clip_range
from treg_exp.priors.folder_files import load_network, read_config
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior

DENOISER = ("unet", "UNet1DModel")
UNET = "diffusers.UNet1DModel"
USES_IMAGE_ENCODER = False


def networks(folder: Path) -> Mapping[str, str]:
    """See ``Family``."""
    return {"unet": UNET}


def tokenizers(folder: Path) -> Mapping[str, str]:
    """See ``Family``."""
    return {}


def read_info(folder: Path, options: Options) -> PriorInfo:
    """See ``Family``."""
    unet = read_config(folder / "unet")
    _check(folder, unet, options)
    clip_range(folder)  # refuses what is not supported
    schedule, kind = any_schedule(folder, options.timestep_spacing)
    return PriorInfo(
        medium="audio",
        signal_shape=(unet.whole("in_channels"), unet.whole("sample_size")),
        latent_channels=unet.whole("in_channels"),
        factor=1,
        multiple=2 ** _halvings(unet),
        schedule=schedule,
        kind=kind,
        sample_rate=unet.whole("sample_rate"),
    )


def load(folder: Path, info: PriorInfo, options: Options, device: torch.device) -> Prior:
    """See ``Family``."""
    unet = load_network(folder, "unet", UNET)
    denoiser = PlainUNetDenoiser(unet, info.kind, options.precision, device, clip_range(folder))
    return Prior(info=info, codec=IdentityCodec(), denoiser=denoiser)


def _halvings(unet: Section) -> int:
    """How often the network halves a signal."""
    halving = {"DownBlock1D": 1, "AttnDownBlock1D": 1, "UNetMidBlock1D": 1}
    kinds = [*unet.texts("down_block_types"), str(unet["mid_block_type"])]
    whole = sum(halving.get(kind, 0) for kind in kinds)
    resnets = kinds[:-2].count("DownResnetBlock1D")  # the last one does not
    return whole + resnets


def _check(folder: Path, unet: Section, options: Options) -> None:
    if not unet.get("sample_rate"):
        raise FieldError("path", folder, "unet/config.json has no sample_rate; write that of the training data there")
    if unet["in_channels"] != unet["out_channels"]:
        raise FieldError(
            "path", folder, f"the denoiser takes {unet['in_channels']} channels and gives {unet['out_channels']}; they "
            "must be the channels of a waveform"
        )  # fmt: skip
    if options.open_clip is not None:
        raise FieldError("open_clip", options.open_clip.model, "sees images, not waveforms; leave it null")
    if options.gradient_checkpointing:
        raise FieldError("gradient_checkpointing", True, "this kind of network has none; leave it false")
