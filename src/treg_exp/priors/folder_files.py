"""The files of one part of a prior's folder: configuration, and weights in safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from treg_exp.errors import FieldError

WEIGHTS = "diffusion_pytorch_model"  # beginning of the name of the weights of diffusers' networks


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of one part."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def architecture_of(folder: Path) -> str:
    """Class of the network in a folder, as diffusers and transformers write it into ``config.json``."""
    config = read_config(folder)
    return str(config.get("_class_name") or (config.get("architectures") or ["unknown"])[0])


def check_class(folder: Path, part: str, name: str) -> None:
    """Refuse a network of another class, which would load and then fail, or quietly compute something else."""
    if (found := architecture_of(folder / part)) != name:
        raise FieldError("path", folder, f"{part}/config.json is of a {found}; only {name} is supported")


def weights_variant(folder: Path, stem: str) -> str | None:
    """Which safetensors of a network there are: ``""``, ``"fp16"``, or None where they are missing or incomplete.

    Args:
        folder: of the network.
        stem: beginning of the name of its weights.
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


def load_network(folder: Path, part: str, stem: str, network: Any) -> Any:
    """A network of diffusers or transformers in float32, from safetensors only, never from pickles.

    Args:
        folder: of the prior.
        part: subfolder of the network.
        stem: beginning of the name of its weights.
        network: its class.
    """
    settings: dict[str, Any] = {"variant": weights_variant(folder / part, stem) or None, "use_safetensors": True}
    if network.__module__.startswith("diffusers"):
        from diffusers.utils import is_accelerate_available

        # Asking for low_cpu_mem_usage without accelerate prints a warning.
        settings |= {"torch_dtype": torch.float32, "low_cpu_mem_usage": is_accelerate_available()}
    else:
        settings |= {"dtype": torch.float32}
    return network.from_pretrained(folder / part, **settings)


def decisive_files(part: Path) -> list[Path]:
    """The files of a part that decide what it computes: configuration, vocabulary, and the weights that are read."""
    files = sorted(file for file in part.glob("*") if file.suffix in (".json", ".txt", ".model", ".safetensors"))
    half = [file for file in files if ".fp16." in file.name]
    whole = any(file.suffix == ".safetensors" for file in files if file not in half)
    return [file for file in files if not (whole and file in half)]
