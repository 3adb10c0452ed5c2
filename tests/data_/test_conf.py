"""Every YAML of the groups data, prompt and metrics names a class and only arguments that it takes."""

from __future__ import annotations

import inspect
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from treg_exp.configuration.settings import DataSettings
from treg_exp.sources import SIZES, TOLD

CONF = Path(__file__).parents[2] / "conf"
APP_FIELDS = {field.name for field in fields(DataSettings)}  # the application takes these out before it builds the data
FILES = sorted(path for group in ("data", "prompt", "metrics") for path in (CONF / group).glob("*.yaml"))


def nodes(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The node itself, or the nodes of a dictionary of them."""
    return [config] if "_target_" in config else [node for key, node in config.items() if key != "defaults"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_target_takes_the_arguments(path: Path) -> None:
    config = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(config, dict)
    for node in nodes(config):  # type: ignore[arg-type]
        module, name = node["_target_"].rsplit(".", 1)
        parameters = inspect.signature(getattr(import_module(module), name)).parameters
        given = set(node) - {"_target_"}
        if path.parent.name == "data":
            assert given >= APP_FIELDS
            assert given & set(SIZES.values())
            given -= APP_FIELDS | set(SIZES.values())
            given |= set(TOLD) & set(parameters)  # the application says them
        assert given <= set(parameters)
        required = {key for key, value in parameters.items() if value.default is inspect.Parameter.empty}
        assert required - {"args", "kwargs"} <= given
