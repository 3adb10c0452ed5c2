"""A prior's folder in diffusers layout: which files there must be, and what to do where they are not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from treg_exp.priors.tiny import TINY, tiny_random

#: Part of a prior -> beginning of the name of its weights. `SECOND` is SDXL's, `TOWER` is of use for image features.
NETWORKS = {"vae": "diffusion_pytorch_model", "unet": "diffusion_pytorch_model", "text_encoder": "model"}
SECOND = {"text_encoder_2": "model"}
TOWER = {"image_encoder": "model"}


def prior_path(path: str, image_encoder: bool = False) -> Path:
    """The folder that a name or path means, with everything in it that a prior needs.

    Args:
        path: a folder, the name of a prior that ships with the package (``emoji64``), or ``tiny_random``, which is
            generated on first use (see ``tiny.py``).
        image_encoder: whether ``image_encoder/``, where there is one, will be loaded and has to be complete, too.

    Raises:
        ValueError: no such folder, or files are missing from it; the message lists them and says what to do.
    """
    if path == TINY:
        return tiny_random()
    shipped = Path(str(files("treg_exp") / "assets" / path))
    folder = shipped if (shipped / "model_index.json").is_file() else Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"path={path}: {_no_folder(path, folder)}")
    if (folder / "transformer").is_dir() and not (folder / "unet").is_dir():
        raise ValueError(f"path={path}: a diffusion transformer (SD 3, Flux); only models with a U-Net are supported")
    if missing := _missing(folder, image_encoder and has_image_encoder(folder)):
        without = "; image_encoder=false goes without its files" if missing[-1].startswith("image_encoder/") else ""
        raise ValueError(
            f"path={path}: not a complete diffusers folder, missing {', '.join(missing)}. "
            f"Download them with {_download('OWNER/MODEL', path)}{without}"
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
            if all((folder / shard).is_file() for shard in shards):
                return variant
    return None


def has_image_encoder(folder: Path) -> bool:
    """Whether there is an image tower, complete or not."""
    return (folder / "image_encoder").is_dir()


def has_two_texts(folder: Path) -> bool:
    """Whether the denoiser is told two texts and the picture's size, as SDXL's is."""
    return bool(read_config(folder / "unet").get("addition_embed_type") == "text_time")


def empty_is_zero(folder: Path) -> bool:
    """Whether an SDXL model means zeros by the empty text: what ``model_index.json`` says, True by default."""
    index = folder / "model_index.json"
    said = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
    return bool(said.get("force_zeros_for_empty_prompt", True))


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of one part."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def _missing(folder: Path, tower: bool) -> list[str]:
    """Files that a prior needs and that are not there, relative to its folder; those of the image tower come last."""
    two = (folder / "unet" / "config.json").is_file() and has_two_texts(folder)
    found = _missing_networks(folder, NETWORKS | (SECOND if two else {}))
    for part in ("tokenizer", "tokenizer_2") if two else ("tokenizer",):
        if not (folder / part / "tokenizer_config.json").is_file():
            found.append(f"{part}/tokenizer_config.json")
        if not (folder / part / "tokenizer.json").is_file():
            found += [f"{part}/{n}" for n in ("vocab.json", "merges.txt") if not (folder / part / n).is_file()]
    if not (folder / "scheduler" / "scheduler_config.json").is_file():
        found.append("scheduler/scheduler_config.json")
    if tower:
        found += _missing_networks(folder, TOWER)
        if not (folder / "image_encoder" / "preprocessor_config.json").is_file():
            found.append("image_encoder/preprocessor_config.json")
    return found


def _missing_networks(folder: Path, networks: Mapping[str, str]) -> list[str]:
    found = []
    for part, stem in networks.items():
        if not (folder / part / "config.json").is_file():
            found.append(f"{part}/config.json")
        if weights_variant(folder / part, stem) is None:
            pickled = any((folder / part).glob("*.bin"))
            found.append(f"{part}/{stem}.safetensors" + (" (its .bin is a pickle and not read)" if pickled else ""))
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
    if _may_be_of_the_hub(path):
        message += (
            f". Nothing is downloaded on the way: if {path} is a repository of the hub, download it with "
            f"{_download(path, path.rsplit('/', 1)[-1])}"
        )
    elif "/" in path:
        message += f". To fill it, download a model with {_download('OWNER/MODEL', path)}"
    return message


def _may_be_of_the_hub(path: str) -> bool:
    """Whether a path reads like OWNER/MODEL and its first part is no folder here, as that of models/sd15 often is."""
    return re.fullmatch(r"\w[\w.-]*/[\w.-]+", path) is not None and not Path(path).parent.is_dir()


def _download(repository: str, folder: str) -> str:
    """The command, and what to do about gated models."""
    patterns = " ".join(f"--include '{pattern}'" for pattern in ("*.json", "*.txt", "*/*.safetensors"))
    return (
        f"`hf download {repository} {patterns} --local-dir {folder}` (for a gated model accept its "
        "licence on its page and run `hf auth login` first)"
    )
