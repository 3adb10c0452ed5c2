"""The image-text encoder of a prior: open_clip's, or the image tower of its folder or of another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from treg_exp.errors import FieldError
from treg_exp.priors.checked_json import is_list, is_number, read_section
from treg_exp.priors.families.base import Options
from treg_exp.priors.folder_files import architecture_of, load_network, read_config, weight_files
from treg_exp.priors.image_text.folder_clip import IMAGE_TOWERS, FolderClip, feature_width, tower_fields
from treg_exp.priors.named import prior_path
from treg_exp.priors.prior import PairedTowers
from treg_exp.stamps import digest_of

TOWER, PREPROCESSOR = "image_encoder", "preprocessor_config.json"
TEXT, TEXT_MODEL = "text_encoder", "transformers.CLIPTextModel"
CHANNELS = 3


def tower_home(folder: Path, options: Options) -> Path | None:
    """The folder whose ``image_encoder/`` a prior has: its own, that of the prior that is named, or None.

    Raises:
        FieldError: the one that is named does not exist or has none.
    """
    named = options.image_encoder
    if options.open_clip is not None or not named:
        return None
    if named is True:
        return folder if (folder / TOWER).is_dir() else None
    try:
        home = prior_path(named)
    except FieldError as error:
        raise FieldError("image_encoder", named, error.allowed) from None
    if not (home / TOWER).is_dir():
        raise FieldError("image_encoder", named, f"has no {TOWER}/")
    return home


def check_same_text(folder: Path, home: Path, named: object) -> None:
    """FieldError unless two priors have the same file of text encoder weights: image features only fit that one."""
    found = [weight_files(each / TEXT, TEXT_MODEL) for each in (folder, home)]
    own, other = ([digest_of(file) for file in files[1]] if files else [] for files in found)
    if not own or own != other:
        raise FieldError(
            "image_encoder", named, f"goes with another file of {TEXT} weights than the one in {folder}; "
            "image_encoder=false goes without"
        )  # fmt: skip


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
    if (home := tower_home(folder, options)) is None:
        return None
    tower = home / TOWER
    _statistics(home)
    config = read_config(tower)
    if "image_size" in config:
        config.whole("image_size")
    return feature_width(architecture_of(tower), config)


def load_image_text(
    folder: Path, options: Options, text_encoder: Any, tokenizer: Any, device: torch.device
) -> PairedTowers | None:
    """The open_clip model that is asked for, or an image tower beside the given text tower, or nothing."""
    if options.open_clip is not None:
        return load_open_clip(options, device)
    if (home := tower_home(folder, options)) is None:
        return None
    network = load_network(home, TOWER, tower_network(home)[TOWER])
    return FolderClip(network, text_encoder, tokenizer, *_statistics(home)).to(device)


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
