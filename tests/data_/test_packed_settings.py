"""Tables and shards as a user sets them: what is wrong is one line that begins with its key."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from tests.test_config import composed
from treg_exp.errors import ConfigError
from treg_exp.experiment import Experiment

TINY = ["experiment=single", "prior=tiny_random", "metrics=residual", "logger=csv", "seed=0"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    with tarfile.open(folder / "s-0.tar", "w") as tar:
        for name, data in (("a.png", content.getvalue()), ("a.txt", b"a cat"), ("b.png", b"junk"), ("b.txt", b"x")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return folder


def made(*overrides: str) -> Experiment:
    return Experiment.from_config(composed(*TINY, *overrides))


def test_a_pattern_in_quotes_is_a_path(shards: Path) -> None:
    items = made("data=webdataset", f'data.path="{shards}/s-{{0..0}}.tar"', "data.limit=1").items
    assert [(item.sample_id, item.texts["prompt"]) for item in items] == [("a", "a cat")]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["data.path=nowhere"], r"^data\.path=nowhere: does not exist"),
        (['data.path="{at}/s-{0..2}.tar"'], r"^data\.path=.*: 2 of 3 shards are missing: .*s-1\.tar, .*s-2\.tar$"),
        (["data.path={at}", "data.image=seg.png"], r"^data\.image=seg\.png: no sample of .* has such a picture"),
        (
            ["data.path={at}", "data.captions={caption: cls.x}"],
            r"^data\.captions\.caption=cls\.x: must be txt, or json",
        ),
        (["data.path={at}", "data.fit=squeeze"], r"^data\.fit=squeeze: "),
        (["data.path={at}"], r"^data: 1 of 2 pictures in .* cannot be used: b in s-0\.tar \(it is no picture"),
        (
            ["data.path={at}", "data.limit=1", "prompt=counterfactual"],
            r"^prompt\.role=.*: caption\. .*data\.captions",
        ),
    ],
)
def test_wrong_settings_of_shards(shards: Path, more: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made("data=webdataset", *(part.replace("{at}", str(shards)) for part in more))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["data.path=nowhere"], r"^data\.path=nowhere: does not exist"),
        (["data.path={at}", "data.split=train"], r"^data\.path=.*: holds no file with one of the extensions parquet"),
        (["data.path={at}", "data.captions=[text]"], r"^data\.captions="),
    ],
)
def test_wrong_settings_of_tables(shards: Path, more: list[str], message: str) -> None:
    pytest.importorskip("datasets")
    with pytest.raises(ConfigError, match=message):
        made("data=hf_dataset", *(part.replace("{at}", str(shards)) for part in more))
