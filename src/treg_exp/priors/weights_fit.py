"""Whether stored weights are those of a network: by names and shapes, before anything is loaded.

The loaders of diffusers and transformers fill what a file lacks at random and leave out what the network does not know.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from treg_exp.errors import FileError
from treg_exp.priors.stored_tensors import Shapes, stored_shapes

SHOWN = 3  # names in a message
#: Where the part of a name begins so -> how it came there and what to do.
HINTS: Mapping[str, str] = {
    "base_layer.": "an adapter is attached: merge it (`merge_and_unload()` of peft, `fuse_lora()` and then "
    "`unload_lora_weights()` of diffusers) and save the network again",
    "lora_": "these are weights of an adapter: load them into their network, merge it and save the network",
    "base_model.model.": "saved with its adapter: `merge_and_unload()` of peft, and save the network again",
    "_orig_mod.": "saved as compiled by torch.compile: save its `_orig_mod`, or take `_orig_mod.` out of the names",
    "module.": "saved from a (Distributed)DataParallel: save its `module`, or take `module.` out of the names",
    "model.diffusion_model.": "the names of a single-file checkpoint: convert it with diffusers' `from_single_file`",
    "first_stage_model.": "the names of a single-file checkpoint: convert it with diffusers' `from_single_file`",
}


def check_fit(place: str, network: str, expected: Shapes, found: Shapes) -> None:
    """Compare what is stored with what a network has.

    Args:
        place: what is stored, for the message.
        network: class of the network.
        expected: its tensors.
        found: the stored tensors, under the names of the network.

    Raises:
        FileError: tensors are missing, unknown or of another shape. The message counts them, names the first ones and
            says where known prefixes come from.
    """
    missing, unknown = [name for name in expected if name not in found], [n for n in found if n not in expected]
    other = [
        f"{name} is {_shape(found[name])} and must be {_shape(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    told = [
        f"{_count(names)} {what} ({_first(names)})"
        for names, what in ((missing, "missing"), (unknown, "unknown to the network"), (other, "of another shape"))
        if names
    ]
    if told:
        hint = hint_for(unknown, missing)
        raise FileError(
            f"{place}: not the weights of {network}: {', '.join(told)}"
            + (f". {hint[0].upper()}{hint[1:]}" if hint else "")
        )


def hint_for(unknown: Collection[str], missing: Collection[str]) -> str:
    """How weights came to be like this, where that can be told."""
    for part, hint in HINTS.items():
        if any(f".{part}" in f".{name}" for name in unknown):
            return hint
    if "encoder.conv_in.weight" in missing and not unknown:
        return "this autoencoder was saved without its encoder; take a whole one"
    return ""


def shapes_of(module: Any) -> Shapes:
    """Shape by name of all tensors of a module of torch."""
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def load_into(module: Any, file: Path, name: str = "") -> None:
    """Fill a module of torch with the tensors of one safetensors file.

    Args:
        module: is filled.
        file: has its tensors under its own names.
        name: of the network for messages; its class where there is none.

    Raises:
        FileError: the file is broken, or holds the weights of another network.
    """
    from safetensors.torch import load_file

    check_fit(str(file), name or type(module).__name__, shapes_of(module), stored_shapes([file]))
    module.load_state_dict(load_file(file))


def _count(names: Collection[str]) -> str:
    return f"{len(names)} tensor{'s' if len(names) != 1 else ''}"


def _first(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"
