"""The files of one part of a prior's folder: configuration, and weights in safetensors."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from treg_exp.errors import FieldError, FileError
from treg_exp.priors.checked_json import Section, read_section

DIFFUSERS, TRANSFORMERS = "diffusers", "transformers"
INDEX = "model_index.json"  # names the pipeline and its parts
STEMS = {DIFFUSERS: "diffusion_pytorch_model", TRANSFORMERS: "model"}  # beginning of the name of the weights
VARIANTS = ("", "fp16", "bf16")  # in the middle of the name of the weights, in order of preference


def read_config(folder: Path) -> Section:
    """``config.json`` of one part."""
    return read_section(folder / "config.json")


def architecture_of(folder: Path) -> str:
    """Class of the network in a folder, as diffusers and transformers write it into ``config.json``."""
    config = read_config(folder)
    names = config.get("architectures") or ["unknown"]
    return str(config.get("_class_name") or (names[0] if isinstance(names, list) else names))


def check_class(folder: Path, part: str, name: str) -> None:
    """Refuse a network of another class, which would load and then fail, or quietly compute something else."""
    if (found := architecture_of(folder / part)) != name:
        raise FieldError("path", folder, f"{part}/config.json is of a {found}; only {name} is supported")


def stem_of(network: str) -> str:
    """Beginning of the name of a network's weights; ``network`` is such as ``diffusers.AutoencoderKL``."""
    return STEMS[network.partition(".")[0]]


def class_of(network: str) -> Any:
    """The class that ``diffusers.AutoencoderKL`` names."""
    library, _, name = network.partition(".")
    return getattr(import_module(library), name)


def weight_files(folder: Path, network: str) -> tuple[str, list[Path]] | None:
    """Which safetensors of a network there are: their variant, and the files that its library will read.

    Args:
        folder: of the network.
        network: such as ``diffusers.AutoencoderKL``.

    Returns:
        None where they are missing or incomplete.
    """
    stem = stem_of(network)
    for variant in VARIANTS:
        dot = f".{variant}" if variant else ""
        single, index = folder / f"{stem}{dot}.safetensors", folder / f"{stem}.safetensors.index{dot}.json"
        if index.is_file() and (stem == STEMS[DIFFUSERS] or not single.is_file()):  # diffusers takes the index first
            if shards := _shards(index):
                return variant, shards
        elif single.is_file():
            return variant, [single]
    return None


def load_network(folder: Path, part: str, network: str) -> Any:
    """A network of diffusers or transformers in float32, from safetensors only, never from pickles.

    Args:
        folder: of the prior.
        part: subfolder of the network.
        network: such as ``diffusers.AutoencoderKL``.

    Raises:
        FileError: the weights lack some of its tensors.
    """
    found = weight_files(folder / part, network)
    variant = found[0] if found else ""
    settings: dict[str, Any] = {"variant": variant or None, "use_safetensors": True, "output_loading_info": True}
    if network.startswith(DIFFUSERS):
        from diffusers.utils import is_accelerate_available

        # Asking for low_cpu_mem_usage without accelerate prints a warning.
        settings |= {"torch_dtype": torch.float32, "low_cpu_mem_usage": is_accelerate_available()}
    else:
        settings |= {"dtype": torch.float32}
    module, info = class_of(network).from_pretrained(folder / part, **settings)
    if missing := sorted(info["missing_keys"]):  # `check_network` finds them before; this is what the library says
        raise FileError(f"{folder / part}: {len(missing)} tensors of {network} are missing ({', '.join(missing[:3])})")
    return module


def _shards(index: Path) -> list[Path]:
    """The files that an index names; none where one is missing."""
    section = read_section(index)
    names = section["weight_map"]
    if not isinstance(names, dict) or not names or not all(_is_name(name) for name in names.values()):
        raise FileError(f"{index}: weight_map must say for each tensor in which file it is; download it again")
    shards = [index.parent / name for name in sorted(set(names.values()))]
    if not all(shard.is_file() for shard in shards):
        return []
    _ = section["metadata"]  # the libraries want it
    return shards


def _is_name(value: object) -> bool:
    """Whether a value is the name of a file in the same folder."""
    return isinstance(value, str) and Path(value).name == value


def configuration_files(part: Path) -> list[Path]:
    """What a part computes with besides its weights: its configuration and vocabulary.

    Not the indices of shards, of which a folder may get further ones, as of fp16 beside float32.
    """
    kinds = (".json", ".txt", ".model")
    return sorted(file for file in part.glob("*") if file.suffix in kinds and ".safetensors." not in file.name)
