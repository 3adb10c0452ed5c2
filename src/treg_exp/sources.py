"""From the ``data`` group to a data set, and to the size of its signals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

from treg_exp.configuration.building import build, parameters
from treg_exp.configuration.settings import DataSettings
from treg_exp.configuration.targets import target_class
from treg_exp.data.base import Source
from treg_exp.errors import ConfigError, FieldError, nearest
from treg_exp.priors.info import PriorInfo

SIZES = {"image": "image_size", "audio": "length"}  # medium -> side of a signal in the data group; null: the prior's
TOLD = ("image_size", "signal_shape", "sample_rate")  # what a data set is told of the prior's signals, if it asks
MOST_VALUES = 2**26  # of one signal: 256 MB in float32, an image of 4729 x 4729 or 23 minutes at 48 kHz


def signal_shape(node: Mapping[str, Any], info: PriorInfo) -> tuple[int, ...]:
    """Native shape of the signals: the prior's, with the size that the data asks for."""
    name, native = SIZES.get(info.medium, "image_size"), info.signal_shape
    for other in set(SIZES.values()) - {name}:
        if node.get(other) is not None:
            raise FieldError(other, node[other], f"nothing reads it, the prior makes {info.medium}; it has {name}")
    wished = node.get(name)
    if wished is None:
        return native
    if isinstance(wished, bool) or not isinstance(wished, int):
        raise FieldError(name, wished, "must be an integer or null")
    shape = (native[0], *[wished] * (len(native) - 1))
    if math.prod(shape) > MOST_VALUES:
        raise FieldError(name, wished, f"a signal can have {MOST_VALUES} numbers at most")
    return shape


def build_source(node: DictConfig, info: PriorInfo) -> Source:
    """The data set; it is told what it wants to know of the prior's signals."""
    kind = target_class(node.get("_target_"), "data")
    if (made := getattr(kind, "medium", None)) not in (None, info.medium):
        raise ConfigError(f"data={kind.__name__}: gives {made}, and the prior makes {info.medium}; choose other data")
    shape = signal_shape(node, info)
    told = dict(zip(TOLD, (shape[-1], list(shape), info.sample_rate), strict=True))
    values: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    others = (*(field.name for field in fields(DataSettings)), *SIZES.values())
    own = {key: value for key, value in values.items() if key not in others}
    taken = parameters(node, "data")
    for key in own:
        if key not in taken and (hint := nearest(key, others)):
            raise ConfigError(f"data.{key}: nothing reads it{hint}")
    own |= {key: value for key, value in told.items() if key in taken}
    source: Source = build(own, "data", Source)
    return source
