"""The image-text encoder of a prior: open_clip's, or the image tower of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from treg_exp.priors.checked_json import is_list, is_number, read_section
from treg_exp.priors.families.base import Options
from treg_exp.priors.folder_files import architecture_of, load_network, read_config
from treg_exp.priors.image_text.folder_clip import IMAGE_TOWERS, FolderClip, feature_width, tower_fields
from treg_exp.priors.prior import PairedTowers

TOWER, PREPROCESSOR = "image_encoder", "preprocessor_config.json"
CHANNELS = 3


def tower_network(folder: Path) -> Mapping[str, str]:
    """The folder's own image tower as a part and its class.

    Raises:
        FieldError: (by `tower_fields`) its architecture is not supported.
    """
    architecture = next(iter(IMAGE_TOWERS))
    if (folder / TOWER / "config.json").is_file():
        architecture = architecture_of(folder / TOWER)
        tower_fields(architecture)  # refuses what would load but could not be used
    return {TOWER: f"transformers.{architecture}"}


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
    tower = folder / TOWER
    if not (options.image_encoder and tower.is_dir()):
        return None
    _statistics(folder)
    config = read_config(tower)
    if "image_size" in config:
        config.whole("image_size")
    return feature_width(architecture_of(tower), config)


def load_image_text(
    folder: Path, options: Options, text_encoder: Any, tokenizer: Any, device: torch.device
) -> PairedTowers | None:
    """The open_clip model that is asked for, or the folder's image tower beside the given text tower, or nothing."""
    if options.open_clip is not None:
        return load_open_clip(options, device)
    if not (options.image_encoder and (folder / TOWER).is_dir()):
        return None
    network = load_network(folder, TOWER, tower_network(folder)[TOWER])
    return FolderClip(network, text_encoder, tokenizer, *_statistics(folder)).to(device)


def _statistics(folder: Path) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel that the tower was trained with.

    Raises:
        FileError: they are missing or are no such numbers.
    """
    section = read_section(folder / TOWER / PREPROCESSOR)
    mean, std = section["image_mean"], section["image_std"]
    for key, values in (("image_mean", mean), ("image_std", std)):
        if not (is_list(values) and len(values) == CHANNELS and all(map(is_number, values))):
            raise section.wrong(key, "it must be a list of three finite numbers")
    if min(std) <= 0:
        raise section.wrong("image_std", "its numbers must be > 0")
    return mean, std
