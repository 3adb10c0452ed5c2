"""Whether a part of a prior's folder is one network: built without memory, compared with what is stored."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from treg_exp.errors import FieldError, FileError
from treg_exp.priors.checked_json import Section, is_list, is_number, told
from treg_exp.priors.folder_files import DIFFUSERS, class_of, read_config, weight_files
from treg_exp.priors.stored_tensors import Shapes, stored_shapes
from treg_exp.priors.weights_fit import check_fit, shapes_of

#: Tensors of the whole model that a checkpoint of one of its towers may hold, too, and which change nothing.
SIBLINGS: Mapping[str, str] = {
    "CLIPTextModel": r"^(vision_model\.|text_projection\.|visual_projection\.|logit_scale$)",
    "CLIPTextModelWithProjection": r"^(vision_model\.|visual_projection\.|logit_scale$)",
    "CLIPVisionModelWithProjection": r"^(text_model\.|text_projection\.|logit_scale$)",
    "T5EncoderModel": r"^(decoder\.|lm_head\.)",
    "ConvNextModel": r"^classifier\.",
}


def check_network(folder: Path, part: str, network: str) -> None:
    """Refuse weights that are not those of their network; reads configuration and headers only.

    Args:
        folder: of the prior.
        part: subfolder of the network.
        network: such as ``diffusers.AutoencoderKL``.

    Raises:
        FileError: a file is broken, the configuration describes no such network, or names or shapes differ.
        FieldError: the weights are quantised.
    """
    place = folder / part
    config = read_config(place)
    if "quantization_config" in config:
        raise FieldError("path", folder, f"{part}/config.json has a quantization_config; only plain weights are read")
    if "transformers_weights" in config:  # transformers would read that file instead
        raise FieldError("path", folder, f"{part}/config.json has transformers_weights, which is not supported")
    found = weight_files(place, network)
    assert found is not None, "complete_folder has seen them"
    stored = stored_shapes(found[1])
    _check_counts(config, len(stored))
    _check_numbers(config, network)
    try:
        module = empty_network(network, place)
        expected = shapes_of(module)
        if network.startswith(DIFFUSERS):
            named = _as_diffusers_loads(module, stored, len(found[1]) > 1)
        else:
            named = _as_transformers_loads(module, stored, expected)
    except Exception as error:  # whatever a class of these libraries makes of values that it cannot use
        raise FileError(f"{config.file} describes no {network}: {told(error)}") from error
    check_fit(str(place), f"the {network.partition('.')[2]} that its config.json describes", expected, named)


def _check_counts(config: Section, tensors: int) -> None:
    """Refuse numbers of layers beyond what is stored, which would take for ever to build, and of heads below 1."""
    for key, value in config.items():
        numbers = [number for number in (value if isinstance(value, list) else [value]) if isinstance(number, int)]
        if ("layers" in key or "depths" in key) and any(not 0 <= number <= tensors for number in numbers):
            raise config.wrong(key, f"it must be from 0 to {tensors}, the number of stored tensors")
        if "heads" in key and any(number < 1 for number in numbers):
            raise config.wrong(key, "it must be >= 1")


def _check_numbers(config: Section, network: str) -> None:
    """Refuse what is no number where the library's own value is one: some would only fail in the middle of a run."""
    for key, optional in _numbers_of(network).items():
        value = config.get(key, 0)
        if optional and value is None:
            continue
        if not all(is_number(number) for number in (_flat(value) if is_list(value) else [value])):
            raise config.wrong(key, "it must be a finite number, or a list of some")
        if network.startswith(DIFFUSERS) and min(_flat(value) if is_list(value) else [value]) < 0:
            raise config.wrong(key, "it must be >= 0")


def _flat(values: Iterable[Any]) -> list[Any]:
    """What is in a list, and in the lists in it."""
    return [one for value in values for one in (_flat(value) if is_list(value) else [value])]


@lru_cache(maxsize=32)
def _numbers_of(network: str) -> Mapping[str, bool]:
    """Settings of a network whose default is a number -> whether null may stand for it."""
    kind = class_of(network)
    if network.startswith(DIFFUSERS):
        parameters = inspect.signature(kind.__init__).parameters.values()
        optional = {p.name for p in parameters if any(word in str(p.annotation) for word in ("None", "Optional"))}
        defaults = {p.name: p.default for p in parameters}
    else:
        defaults, optional = kind.config_class().to_dict(), set()
        defaults = {key: value for key, value in defaults.items() if not key.endswith("_token_id")}
    return {key: key in optional for key, value in defaults.items() if is_number(value)}


def empty_network(network: str, place: Path) -> Any:
    """The network that a folder's ``config.json`` describes, its tensors without values.

    Args:
        network: such as ``diffusers.AutoencoderKL``.
        place: its folder.
    """
    return _built(network, str(place), read_config(place).file.read_text(encoding="utf-8"))


@lru_cache(maxsize=32)
def _built(network: str, place: str, config: str) -> Any:
    """See above; ``config`` is what the file says, by which the network is remembered."""
    kind = class_of(network)
    with torch.device("meta"):
        if network.startswith(DIFFUSERS):
            return kind.from_config(kind.load_config(place))
        return kind(kind.config_class.from_pretrained(place))


def _as_diffusers_loads(module: Any, stored: Shapes, sharded: bool) -> Shapes:
    """Stored shapes under the names that diffusers gives them; those of old versions are known in single files."""
    named = dict(stored)
    if not sharded:
        module._fix_state_dict_keys_on_load(named)
    ignored = module._keys_to_ignore_on_load_unexpected or []
    return {name: shape for name, shape in named.items() if not any(re.search(pattern, name) for pattern in ignored)}


def _as_transformers_loads(module: Any, stored: Shapes, expected: Shapes) -> Shapes:
    """Stored shapes under the names that transformers gives them, without those that it leaves out on purpose."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    renamings = [entry for entry in get_model_conversion_mapping(module) if isinstance(entry, WeightRenaming)]
    own = module.state_dict()
    named = {}
    for name, shape in stored.items():
        renamed = rename_source_key(name, renamings, [], module.base_model_prefix, own)[0]
        if renamed not in own and name in own:
            renamed = name
        named[renamed] = shape
    for one, other in module.all_tied_weights_keys.items():  # one tensor under two names; a file may hold either
        pair = named.get(one, named.get(other))
        named |= {} if pair is None else {one: pair, other: pair}
    for name in module._keys_to_ignore_on_load_missing or ():
        named |= {key: shape for key, shape in expected.items() if key not in named and re.search(name, key)}
    ignored = [*(module._keys_to_ignore_on_load_unexpected or ()), r"(^|\.)position_ids$"]
    ignored.append(SIBLINGS.get(type(module).__name__, "$^"))
    unknown = {name for name in named if name not in expected and any(re.search(p, name) for p in ignored)}
    return {name: shape for name, shape in named.items() if name not in unknown}
