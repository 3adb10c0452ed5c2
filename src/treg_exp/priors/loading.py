"""Load a prior from a folder in diffusers layout: the shipped one, Stable Diffusion, or a user's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from treg_exp.priors.base import ImageTextEncoder
from treg_exp.priors.clip import FolderClip, feature_width, tower_fields
from treg_exp.priors.latent import LatentDiffusion, check_multiple
from treg_exp.priors.layout import architecture_of
from treg_exp.priors.open_clip import OpenClipFiles
from treg_exp.priors.precision import check_precision
from treg_exp.priors.tiny import TINY, tiny_random
from treg_exp.schedule import Schedule

WEIGHTS = "diffusion_pytorch_model.safetensors"
REQUIRED = {
    "vae": ("config.json", WEIGHTS),
    "unet": ("config.json", WEIGHTS),
    "text_encoder": ("config.json", "model.safetensors"),
    "tokenizer": ("tokenizer_config.json",),
    "scheduler": ("scheduler_config.json",),
}


def prior_path(path: str) -> Path:
    """The folder that a name or path means.

    Args:
        path: a folder, the name of a prior that ships with the package (``emoji64``), or ``tiny_random``, which is
            generated on first use (see ``tiny.py``).

    Raises:
        ValueError: no such folder, or files are missing from it; the message lists them.
    """
    if path == TINY:
        return tiny_random()
    shipped = Path(str(files("treg_exp") / "assets" / path))
    folder = shipped if (shipped / "model_index.json").is_file() else Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(
            f"path={path}: no such folder; give a folder in diffusers layout "
            f"({', '.join(f'{name}/' for name in REQUIRED)}) or the name of a shipped prior (emoji64, {TINY})"
        )
    missing = [
        f"{part}/{file}" for part, names in REQUIRED.items() for file in names if not (folder / part / file).is_file()
    ]
    if missing:
        raise ValueError(f"path={path}: not a complete diffusers folder, missing {', '.join(missing)}")
    return folder


@dataclass(frozen=True)
class PriorInfo:
    """What the configuration files say, without loading weights.

    Attributes:
        image_size: native height and width in pixels.
        multiple: image sides must be multiples of this.
        text_width: width of the text embedding.
        feature_width: width of the image features, None without an image encoder.
    """

    image_size: int
    multiple: int
    text_width: int
    feature_width: int | None

    def check_size(self, size: int) -> None:
        """Raise ValueError for images that the networks cannot halve as often as they do."""
        check_multiple(size, size, self.multiple)


def read_prior_info(path: str, image_encoder: bool = True, open_clip: OpenClipFiles | None = None) -> PriorInfo:
    """See :class:`PriorInfo`; the arguments are those of :func:`load_prior`.

    Raises:
        ValueError: a folder or file is missing or incomplete.
    """
    folder = prior_path(path)

    def read(part: str) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((folder / part / "config.json").read_text())
        return config

    unet, factor = read("unet"), 2 ** (len(read("vae")["block_out_channels"]) - 1)
    tower = folder / "image_encoder"
    with_clip = image_encoder and (tower / "config.json").is_file()
    own_width = feature_width(architecture_of(tower), read("image_encoder")) if with_clip else None
    return PriorInfo(
        image_size=unet["sample_size"] * factor,
        multiple=factor * 2 ** (len(unet["block_out_channels"]) - 1),
        text_width=unet["cross_attention_dim"],
        feature_width=open_clip.width() if open_clip else own_width,
    )


def load_prior(
    path: str = "emoji64",
    precision: str = "auto",
    device: str | torch.device = "cpu",
    image_encoder: bool = True,
    open_clip: OpenClipFiles | None = None,
) -> LatentDiffusion:
    """A frozen latent diffusion prior.

    Only safetensors are read, never pickles.

    Args:
        path: a folder in diffusers layout, or a name (``emoji64``, ``tiny_random``), see :func:`prior_path`.
        precision: ``auto`` (bf16 where the hardware has it), ``fp32``, ``bf16`` or ``fp16``, of the networks.
        device: where the networks run.
        image_encoder: load ``image_encoder/`` where there is one (text alignment and adaptive negation need it).
        open_clip: an open_clip model to use instead of it.

    Raises:
        ValueError: the folder is missing or incomplete, or the precision is unknown.
    """
    folder, device = prior_path(path), torch.device(device)
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.utils import is_accelerate_available
    from transformers import CLIPTextModel, CLIPTokenizer

    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32, use_safetensors=True)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    weights: dict[str, Any] = {
        "torch_dtype": torch.float32,
        "use_safetensors": True,
        "low_cpu_mem_usage": is_accelerate_available(),  # asking for it without accelerate prints a warning
    }
    clip: ImageTextEncoder | None = None
    if open_clip:
        clip = open_clip.load(device)
    elif image_encoder and (folder / "image_encoder" / "config.json").is_file():
        clip = load_clip(folder / "image_encoder", text_encoder, tokenizer).to(device)
    return LatentDiffusion(
        vae=AutoencoderKL.from_pretrained(folder / "vae", **weights),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet", **weights),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        schedule=load_schedule(folder / "scheduler" / "scheduler_config.json"),
        clip=clip,
        precision=check_precision(precision),
        device=device,
    )


def load_clip(folder: Path, text_encoder: Any, tokenizer: Any) -> FolderClip:
    """The image tower of ``folder`` beside the given text tower."""
    import transformers

    architecture = architecture_of(folder)
    tower_fields(architecture)  # refuses what would load but could not be used
    tower = getattr(transformers, architecture).from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    statistics = json.loads((folder / "preprocessor_config.json").read_text())
    return FolderClip(tower, text_encoder, tokenizer, statistics["image_mean"], statistics["image_std"])


def load_schedule(file: Path) -> Schedule:
    """The training schedule of a diffusers scheduler configuration, whatever its sampler class."""
    from diffusers import DDIMScheduler

    config: Mapping[str, Any] = json.loads(file.read_text())
    scheduler = DDIMScheduler.from_config(config)
    return Schedule(
        alphas_cumprod=tuple(scheduler.alphas_cumprod.double().tolist()),
        final_alpha=float(scheduler.final_alpha_cumprod),
        prediction=scheduler.config.prediction_type,
        steps_offset=scheduler.config.steps_offset,
    )
