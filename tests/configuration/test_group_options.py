"""Options in subfolders are listed as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from treg_exp.configuration.group_options import install_nested_options, is_own_group

CONF = ROOT / "conf"


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch):
    """A loader of Hydra's, as it is where the command line asks for a list."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.plugins import Plugins

    Plugins.instance()
    monkeypatch.setattr(ConfigLoaderImpl, "get_group_options", ConfigLoaderImpl.get_group_options)  # undone afterwards
    install_nested_options(["-sc=query"])
    return ConfigLoaderImpl(create_config_search_path(str(CONF)))


def test_options_of_a_group(asking) -> None:
    from hydra.core.object_type import ObjectType

    experiments = asking.get_group_options("experiment")
    assert {"single", "best/treg", "released/treg_sr_x16", "study/treg"} <= set(experiments)
    for option in experiments:
        assert (CONF / "experiment" / f"{option}.yaml").is_file()
    files = {
        str(file.relative_to(CONF / "experiment").with_suffix("")) for file in (CONF / "experiment").rglob("*.yaml")
    }
    assert files - set(experiments) == {"tuning/shared"}  # no option, but what the options of its folder share
    assert asking.get_group_options("experiment", ObjectType.GROUP) == []
    assert asking.get_group_options("recipe")[0] == "emoji64/autoencoder"
    assert asking.get_group_options("solver", ObjectType.GROUP) == ["prox"]
    assert not [option for option in asking.get_group_options("solver") if "/" in option]
    assert asking.get_group_options("solver/prox") == ["cg", "cg_latino", "descent", "exact"]
    assert "basic" in asking.get_group_options("hydra/launcher")


def test_elsewhere_nothing_is_changed() -> None:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    install_nested_options(["-m", "task=glob(*)"])
    assert not hasattr(ConfigLoaderImpl.get_group_options, "__wrapped__")


def test_groups_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "solver").mkdir()
    (tmp_path / "solver/a.yaml").write_text("defaults:\n  - prox@inner.prox: exact\n  - override other: x\n# - no: y\n")
    found = {name: is_own_group("solver", name, [CONF, tmp_path]) for name in ("prox", "other", "no", "third")}
    assert found == {"prox": True, "other": True, "no": False, "third": False}
