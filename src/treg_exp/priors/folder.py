"""A prior's folder in diffusers layout: which files there must be, and what its configuration says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from treg_exp.priors.base import TextLayout
from treg_exp.priors.clip import feature_width
from treg_exp.priors.latent import check_multiple
from treg_exp.priors.layout import architecture_of
from treg_exp.priors.open_clip import OpenClipFiles
from treg_exp.priors.tiny import TINY, tiny_random

#: Part of a prior -> beginning of the name of its weights. The second pair is SDXL's.
NETWORKS = {"vae": "diffusion_pytorch_model", "unet": "diffusion_pytorch_model", "text_encoder": "model"}
SECOND = {"text_encoder_2": "model"}


def prior_path(path: str) -> Path:
    """The folder that a name or path means, with everything in it that a prior needs.

    Args:
        path: a folder, the name of a prior that ships with the package (``emoji64``), or ``tiny_random``, which is
            generated on first use (see ``tiny.py``).

    Raises:
        ValueError: no such folder, or files are missing from it; the message lists them and says what to do.
    """
    if path == TINY:
        return tiny_random()
    shipped = Path(str(files("treg_exp") / "assets" / path))
    folder = shipped if (shipped / "model_index.json").is_file() else Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"path={path}: {_no_folder(path, folder)}")
    if missing := _missing(folder):
        raise ValueError(
            f"path={path}: not a complete diffusers folder, missing {', '.join(missing)}. "
            f"{_download('OWNER/MODEL', path)}"
        )
    return folder


def weights_variant(folder: Path, stem: str) -> str | None:
    """Which safetensors of a network there are: ``""``, ``"fp16"``, or None where they are missing or incomplete.

    Args:
        folder: of the network.
        stem: see `NETWORKS`.
    """
    for variant, dot in (("", ""), ("fp16", ".fp16")):
        if (folder / f"{stem}{dot}.safetensors").is_file():
            return variant
        index = folder / f"{stem}.safetensors.index{dot}.json"
        if index.is_file():
            shards = set(json.loads(index.read_text())["weight_map"].values())
            return variant if all((folder / shard).is_file() for shard in shards) else None
    return None


def has_two_texts(folder: Path) -> bool:
    """Whether the denoiser is told two texts and the picture's size, as SDXL's is."""
    return bool(read_config(folder / "unet").get("addition_embed_type") == "text_time")


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of one part."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def _missing(folder: Path) -> list[str]:
    """Files that a prior needs and that are not there, relative to its folder."""
    two = (folder / "unet" / "config.json").is_file() and has_two_texts(folder)
    found = []
    for part, stem in (NETWORKS | (SECOND if two else {})).items():
        if not (folder / part / "config.json").is_file():
            found.append(f"{part}/config.json")
        if weights_variant(folder / part, stem) is None:
            pickled = any((folder / part).glob("*.bin"))
            found.append(f"{part}/{stem}.safetensors" + (" (its .bin is a pickle and not read)" if pickled else ""))
    for part in ("tokenizer", "tokenizer_2") if two else ("tokenizer",):
        if not (folder / part / "tokenizer_config.json").is_file():
            found.append(f"{part}/tokenizer_config.json")
        if not any((folder / part / name).is_file() for name in ("tokenizer.json", "vocab.json")):
            found.append(f"{part}/vocab.json")
    if not (folder / "scheduler" / "scheduler_config.json").is_file():
        found.append("scheduler/scheduler_config.json")
    return found


def _no_folder(path: str, folder: Path) -> str:
    if folder.is_file():
        return (
            "is a single file; convert it to a folder with diffusers, "
            f"StableDiffusionPipeline.from_single_file({path!r}).save_pretrained('FOLDER'), and give the folder"
        )
    message = (
        "no such folder; give a folder in diffusers layout (vae/, unet/, text_encoder/, tokenizer/, scheduler/) or the "
        f"name of a shipped prior (emoji64, {TINY})"
    )
    if re.fullmatch(r"[\w.-]+/[\w.-]+", path):  # looks like a repository of the hub
        message += f". Nothing is downloaded on the way. {_download(path, path.rsplit('/', 1)[-1])}"
    return message


def _download(repository: str, folder: str) -> str:
    return (
        f"Download them with `hf download {repository} --include '*.json' '*.txt' '*.safetensors' --local-dir {folder}`"
        " (for a gated model accept its licence on its page and run `hf auth login` first)"
    )


@dataclass(frozen=True)
class PriorInfo:
    """What the configuration files say, without loading weights.

    Attributes:
        image_size: native height and width in pixels.
        multiple: image sides must be multiples of this.
        text_layout: what a text embedding is made of.
        feature_width: width of the image features, None without an image encoder.
    """

    image_size: int
    multiple: int
    text_layout: TextLayout
    feature_width: int | None

    def check_size(self, size: int) -> None:
        """Raise ValueError for images that the networks cannot halve as often as they do."""
        check_multiple(size, size, self.multiple)


def read_prior_info(path: str, image_encoder: bool = True, open_clip: OpenClipFiles | None = None) -> PriorInfo:
    """See :class:`PriorInfo`; the arguments are those of ``load_prior``.

    Raises:
        ValueError: a folder or file is missing or incomplete.
    """
    folder = prior_path(path)
    unet, factor = read_config(folder / "unet"), 2 ** (len(read_config(folder / "vae")["block_out_channels"]) - 1)
    two = has_two_texts(folder)
    encoders = ("text_encoder", "text_encoder_2") if two else ("text_encoder",)
    layout = TextLayout(tuple(read_config(folder / part)["hidden_size"] for part in encoders), pooled=two)
    if layout.width != unet["cross_attention_dim"]:
        raise ValueError(
            f"path={path}: the text encoders give {' + '.join(map(str, layout.widths))} numbers per token, and "
            f"unet/config.json wants cross_attention_dim={unet['cross_attention_dim']}: these parts are of two models"
        )
    tower = folder / "image_encoder"
    with_clip = image_encoder and (tower / "config.json").is_file()
    own_width = feature_width(architecture_of(tower), read_config(tower)) if with_clip else None
    return PriorInfo(
        image_size=unet["sample_size"] * factor,
        multiple=factor * 2 ** (len(unet["block_out_channels"]) - 1),
        text_layout=layout,
        feature_width=open_clip.width() if open_clip else own_width,
    )
