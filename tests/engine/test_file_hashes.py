"""A run is not continued with other weights under the same path."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.conftest import DATA
from tests.engine.test_app import go
from treg_exp import stamps
from treg_exp.engine import file_hashes
from treg_exp.engine.file_hashes import changed_file, hashed
from treg_exp.errors import ConfigError
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.image_text.open_clip import OpenClipFiles

MODEL = DATA / "parity" / "tiny_model"


def test_a_file_is_read_again_only_where_it_may_have_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "unet" / "w.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"one")
    first = hashed([file], {})
    assert list(first) == ["unet/w.safetensors"]
    monkeypatch.setattr(file_hashes, "_hash_of", lambda *args: "read again")
    assert hashed([file], first) == first
    stat = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as rsync and tar set it
    assert changed_file(first, hashed([file], first)) == "unet/w.safetensors"
    assert changed_file(first, {}) == "unet/w.safetensors"
    damaged = {"unet/w.safetensors": {"size": 3}}
    assert hashed([file], damaged)["unet/w.safetensors"]["sha256"] == "read again"


@pytest.fixture
def big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is worth a note in the user's cache, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "unet" / "big.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"1" * file_hashes.CACHED)
    return file


def as_if_older(monkeypatch: pytest.MonkeyPatch, seconds: int = 10) -> None:
    now = time.time_ns
    monkeypatch.setattr(stamps.time, "time_ns", lambda: now() + seconds * 10**9)


def another_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Forget what this process knows; returns the names of the files that are read from now on."""
    read, once = [], file_hashes._hash_of.__wrapped__
    monkeypatch.setattr(file_hashes, "_hash_of", lambda stamp: (read.append(Path(stamp.place).name), once(stamp))[1])
    return read


def test_a_file_is_read_once_per_user(big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_if_older(monkeypatch)
    small = tmp_path / "unet" / "config.json"
    small.write_text("{}")
    read = another_process(monkeypatch)
    first = hashed([big, small], {})
    assert first["unet/big.safetensors"]["sha256"] == hashlib.sha256(big.read_bytes()).hexdigest()
    assert hashed([big, small], {}) == first
    assert read == ["big.safetensors", "config.json", "config.json"]
    (note,) = (tmp_path / "cache").rglob("*.json")
    link = tmp_path / "link" / "unet"
    link.parent.mkdir()
    link.symlink_to(big.parent)
    assert hashed([link / big.name], {}) == {"unet/big.safetensors": first["unet/big.safetensors"]}
    assert len(read) == 3
    for damaged in ("", "[1]", "{", '{"sha256": 1}', note.read_text().replace(big.name, "another")):
        note.write_text(damaged)
        assert hashed([big], {})["unet/big.safetensors"] == first["unet/big.safetensors"]
        assert read.pop() == "big.safetensors"
    assert hashed([big], {})["unet/big.safetensors"] == first["unet/big.safetensors"]
    assert len(read) == 3


@pytest.mark.parametrize("change", ["content", "renamed", "moved", "other inode"])
def test_a_note_is_not_trusted_where_a_stamp_differs(big: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_if_older(monkeypatch)
    hashed([big], {})
    stat, other = big.stat(), b"2" * file_hashes.CACHED
    if change == "content":
        big.write_bytes(other)
    elif change == "moved":
        big = big.rename(big.with_name("elsewhere.safetensors"))
        other = big.read_bytes()
    else:
        new = big.with_name("new")
        new.write_bytes(other)
        new.replace(big)
    if change != "other inode":
        os.utime(big, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as rsync and tar set it
    (note,) = hashed([big], {}).values()
    assert note["sha256"] == hashlib.sha256(other).hexdigest()


def test_a_file_that_may_still_change_unseen_is_not_noted(big: Path, tmp_path: Path) -> None:
    hashed([big], {})
    assert not list((tmp_path / "cache").rglob("*.json"))


@pytest.mark.parametrize("cache", ["a file", "relative"])
def test_without_a_cache_hashes_are_the_same(
    big: Path, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_if_older(monkeypatch)
    first = hashed([big], {})
    shutil.rmtree(tmp_path / "cache")
    if cache == "a file":
        (tmp_path / "cache").write_text("")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        monkeypatch.chdir(tmp_path)
    read = another_process(monkeypatch)
    assert hashed([big], {}) == hashed([big], {}) == first
    assert read == ["big.safetensors"] * 2
    assert not (tmp_path / "relative").exists()


def test_what_a_folder_computes_is_decided_by_these_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = shutil.copytree(MODEL, tmp_path / "model")
    (model / "model_index.json").write_text('{"force_zeros_for_empty_prompt": false}')
    (model / "unet" / "diffusion_pytorch_model.safetensors.index.fp16.json").write_text("{}")  # came later
    monkeypatch.setenv("HOME", str(tmp_path))
    *files, clip = DiffusersFolder(path=str(model), open_clip=OpenClipFiles("ViT-B-32", "~/clip.safetensors")).files
    assert clip == tmp_path / "clip.safetensors"
    names = {file.relative_to(model).as_posix() for file in files}
    assert "model_index.json" in names
    assert not any(".index." in name for name in names)
    assert {"unet/diffusion_pytorch_model.safetensors", "unet/config.json", "scheduler/scheduler_config.json"} <= names
    assert "vae/diffusion_pytorch_model.safetensors" in names
    assert any(name.startswith("tokenizer/") for name in names)


@pytest.mark.parametrize("change", ["weights", "scheduler"])
def test_exchanged_files_are_refused_by_name(tmp_path: Path, change: str) -> None:
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    command = [f"prior.path={model}", "experiment=single", "metrics=residual", "solver.steps=2", "data.limit=1"]
    go(tmp_path / "r", *command)
    go(tmp_path / "r", *command)
    if change == "weights":
        file = model / "unet" / "diffusion_pytorch_model.safetensors"
        tensors = load_file(file)
        name = min(tensors)
        save_file({**tensors, name: tensors[name] + 1}, file, {"format": "pt"})
    else:
        file = model / "scheduler" / "scheduler_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"beta_end": 0.013}))
    told = f"{file.parent.name}/{file.name}"
    with pytest.raises(ConfigError, match=f"was made with another {told} of the prior; choose another run_dir"):
        go(tmp_path / "r", *command)


def test_a_run_of_a_version_that_did_not_note_them_is_continued(tmp_path: Path) -> None:
    command = ["experiment=single", "metrics=residual", "solver.steps=2", "data.limit=1"]
    go(tmp_path / "r", *command)
    (tmp_path / "r" / "prior_files.json").unlink()
    go(tmp_path / "r", *command)
    assert (tmp_path / "r" / "prior_files.json").is_file()
    (tmp_path / "r" / "prior_files.json").write_text("[")
    with pytest.raises(ConfigError, match=r"cannot be continued: .*prior_files\.json is damaged"):
        go(tmp_path / "r", *command)
