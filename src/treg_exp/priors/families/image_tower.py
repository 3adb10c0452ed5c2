"""The image-text encoder of a prior: open_clip's, or the image tower of its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from treg_exp.priors.families.base import Options
from treg_exp.priors.folder_files import architecture_of, load_network, read_config
from treg_exp.priors.image_text.folder_clip import FolderClip, feature_width, tower_fields
from treg_exp.priors.prior import PairedTowers


def open_clip_width(options: Options) -> int | None:
    """Width of the image features where only an open_clip model can give them; None without one."""
    return None if options.open_clip is None else options.open_clip.width()


def load_open_clip(options: Options, device: torch.device) -> PairedTowers | None:
    """The open_clip model that is asked for, or nothing."""
    return None if options.open_clip is None else options.open_clip.load(device)


def feature_width_of(folder: Path, options: Options) -> int | None:
    """Width of the image features that a prior in this folder will have; None without an image encoder."""
    if options.open_clip is not None:
        return open_clip_width(options)
    tower = folder / "image_encoder"
    if not (options.image_encoder and tower.is_dir()):
        return None
    return feature_width(architecture_of(tower), read_config(tower))


def load_image_text(
    folder: Path, options: Options, text_encoder: Any, tokenizer: Any, device: torch.device
) -> PairedTowers | None:
    """The open_clip model that is asked for, or the folder's image tower beside the given text tower, or nothing."""
    if options.open_clip is not None:
        return load_open_clip(options, device)
    tower = folder / "image_encoder"
    if not (options.image_encoder and tower.is_dir()):
        return None
    import transformers

    architecture = architecture_of(tower)
    tower_fields(architecture)  # refuses what would load but could not be used
    network = load_network(folder, "image_encoder", "model", getattr(transformers, architecture))
    statistics = json.loads((tower / "preprocessor_config.json").read_text())
    return FolderClip(network, text_encoder, tokenizer, statistics["image_mean"], statistics["image_std"]).to(device)
