"""A run is not continued with other weights under the same path."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.conftest import DATA
from tests.engine.test_app import go
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
