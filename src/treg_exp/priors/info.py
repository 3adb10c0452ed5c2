"""What the configuration files of a prior's folder say, read and checked before any weights are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from treg_exp.priors.base import TextLayout
from treg_exp.priors.clip import feature_width
from treg_exp.priors.folder import has_image_encoder, has_two_texts, prior_path, read_config
from treg_exp.priors.latent import check_multiple
from treg_exp.priors.layout import architecture_of
from treg_exp.priors.open_clip import OpenClipFiles
from treg_exp.schedule import Schedule, Spacing

T = TypeVar("T")


@dataclass(frozen=True)
class PriorInfo:
    """What the configuration files say, without loading weights.

    Attributes:
        image_size: native height and width in pixels.
        multiple: image sides must be multiples of this.
        text_layout: what a text embedding is made of.
        feature_width: width of the image features, None without an image encoder.
        schedule: noise schedule of the denoiser.
    """

    image_size: int
    multiple: int
    text_layout: TextLayout
    feature_width: int | None
    schedule: Schedule

    def check_size(self, size: int) -> None:
        """Raise ValueError for images that the networks cannot halve as often as they do."""
        check_multiple(size, size, self.multiple)


def read_prior_info(
    path: str,
    image_encoder: bool = True,
    open_clip: OpenClipFiles | None = None,
    timestep_spacing: Spacing | None = None,
) -> PriorInfo:
    """See :class:`PriorInfo`; the arguments are those of ``load_prior``.

    Raises:
        ValueError: a folder or file is missing or incomplete.
    """
    with_tower = image_encoder and open_clip is None
    folder = prior_path(path, with_tower)
    unet, vae = read_config(folder / "unet"), read_config(folder / "vae")
    _check_kind(path, unet, vae)
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    two = has_two_texts(folder)
    encoders = ("text_encoder", "text_encoder_2") if two else ("text_encoder",)
    layout = TextLayout(tuple(read_config(folder / part)["hidden_size"] for part in encoders), pooled=two)
    if layout.width != unet["cross_attention_dim"]:
        raise ValueError(
            f"path={path}: the text encoders give {' + '.join(map(str, layout.widths))} numbers per token, and "
            f"unet/config.json wants cross_attention_dim={unet['cross_attention_dim']}: these parts are of two models"
        )
    width = open_clip.width() if open_clip else None
    if with_tower and has_image_encoder(folder):
        tower = folder / "image_encoder"
        width = feature_width(architecture_of(tower), read_config(tower))
    return PriorInfo(
        image_size=unet["sample_size"] * factor,
        multiple=factor * 2 ** (len(unet["block_out_channels"]) - 1),
        text_layout=layout,
        feature_width=width,
        schedule=_named(path, lambda: load_schedule(folder / "scheduler" / "scheduler_config.json", timestep_spacing)),
    )


def load_schedule(file: Path, spacing: Spacing | None = None) -> Schedule:
    """The training schedule of a diffusers scheduler configuration, whatever its sampler class.

    Args:
        file: ``scheduler_config.json``.
        spacing: of the sampler's timesteps; None takes the file's.

    Raises:
        ValueError: an unknown spacing, or the schedule of another kind of model (flow matching, EDM).
    """
    from diffusers import DDIMScheduler

    config: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if "beta_schedule" not in config:
        raise ValueError(
            f"scheduler/scheduler_config.json: {config.get('_class_name')} has no beta_schedule; only diffusion models "
            "with a discrete schedule are supported, no flow matching and no EDM"
        )
    scheduler = DDIMScheduler.from_config(config)
    own: Spacing = "lcm" if config.get("_class_name") == "LCMScheduler" else scheduler.config.timestep_spacing
    return Schedule(
        alphas_cumprod=tuple(scheduler.alphas_cumprod.double().tolist()),
        final_alpha=float(scheduler.final_alpha_cumprod),
        prediction=scheduler.config.prediction_type,
        spacing=spacing or own,
        steps_offset=scheduler.config.steps_offset,
        lcm_steps=config.get("original_inference_steps", 50),
    )


def _check_kind(path: str, unet: dict[str, Any], vae: dict[str, Any]) -> None:
    """Refuse networks that would load and then fail, or quietly compute something else."""
    for part, config, name in (("unet", unet, "UNet2DConditionModel"), ("vae", vae, "AutoencoderKL")):
        if config.get("_class_name", name) != name:
            raise ValueError(
                f"path={path}: {part}/config.json is of a {config['_class_name']}; only {name} is supported"
            )
    if unet["in_channels"] != vae["latent_channels"]:
        raise ValueError(
            f"path={path}: the denoiser takes {unet['in_channels']} channels and the autoencoder makes "
            f"{vae['latent_channels']}; models for inpainting or depth, which take more, are not supported"
        )
    if vae.get("latents_mean") or vae.get("latents_std"):
        raise ValueError(f"path={path}: vae/config.json has latents_mean or latents_std, which are not supported")


def _named(path: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except ValueError as error:
        raise ValueError(f"path={path}: {error}") from None
