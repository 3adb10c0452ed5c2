"""The autoencoder of latent priors: what must fit, and how it is loaded."""

from __future__ import annotations

from pathlib import Path

import torch

from treg_exp.errors import FieldError
from treg_exp.priors.checked_json import Section
from treg_exp.priors.codecs.autoencoder_kl import AutoencoderCodec, tile
from treg_exp.priors.families.base import Options
from treg_exp.priors.folder_files import check_class, load_network, read_config
from treg_exp.priors.precision import Precision

AUTOENCODER = "diffusers.AutoencoderKL"


def read_autoencoder(folder: Path, channels: int) -> Section:
    """The configuration of ``vae/``.

    Args:
        folder: of the prior.
        channels: that the denoiser takes.

    Raises:
        FieldError: a network that would load and then fail, or quietly compute something else.
    """
    check_class(folder, "vae", "AutoencoderKL")
    vae = read_config(folder / "vae")
    if "scaling_factor" in vae:
        vae.number("scaling_factor", positive=True)
    vae.number("shift_factor", 0.0)
    vae.wholes("block_out_channels")
    if channels != vae.whole("latent_channels"):
        raise FieldError(
            "path", folder, f"the denoiser takes {channels} channels and the autoencoder makes "
            f"{vae['latent_channels']}; models for inpainting or depth, which take more, are not supported"
        )  # fmt: skip
    if vae.get("latents_mean") or vae.get("latents_std"):
        raise FieldError("path", folder, "vae/config.json has latents_mean or latents_std, which are not supported")
    return vae


def factor_of(vae: Section) -> int:
    """Ratio of the sides of an image and of its latent."""
    return int(2 ** (len(vae["block_out_channels"]) - 1))


def load_autoencoder(
    folder: Path, options: Options, device: torch.device, precision: Precision | None = None
) -> AutoencoderCodec:
    """The codec, with the memory savers that the options ask for.

    Args:
        folder: of the prior.
        options: of the prior.
        device: where it lives.
        precision: what it computes in; None is that of the options.
    """
    vae = load_network(folder, "vae", AUTOENCODER)
    if options.vae_slicing:
        vae.enable_slicing()
    if options.vae_tiling:
        tile(vae)
    if options.gradient_checkpointing:
        vae.enable_gradient_checkpointing()
    return AutoencoderCodec(vae, precision or options.precision, device)
