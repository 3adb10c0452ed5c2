"""The networks of the metrics: a broken file, or the weights of another network, are named in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from treg_exp.errors import FileError
from treg_exp.metrics.networks import lpips
from treg_exp.metrics.networks.judge import CONFIG, FOLDER, WEIGHTS, load_judge


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    for name in (CONFIG, WEIGHTS):
        shutil.copy(FOLDER / name, tmp_path / name)
    return tmp_path


def test_a_judge_of_other_weights(judge: Path) -> None:
    assert load_judge(judge) is not None
    weights = {name: value.clone() for name, value in load_file(judge / WEIGHTS).items()}
    lost = sorted(weights)[0]
    del weights[lost]
    (judge / WEIGHTS).unlink()
    save_file(weights, judge / WEIGHTS)
    with pytest.raises(FileError, match=rf"{WEIGHTS}: not the weights of Judge: 1 tensor missing \({lost}\)"):
        load_judge(judge)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (WEIGHTS, "version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (WEIGHTS, "half", "is truncated or no safetensors file"),
        (CONFIG, "<!DOCTYPE html>", "is an HTML page"),
        (CONFIG, "{", "is no valid JSON"),
        (CONFIG, json.dumps({"channels": "x"}), "describes no judge: "),
    ],
)
def test_a_broken_judge(judge: Path, name: str, content: str, message: str) -> None:
    (judge / name).unlink()
    (judge / name).write_text(content)
    with pytest.raises(FileError, match=rf"{name} {message}"):
        load_judge(judge)


def test_a_broken_lpips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = lpips.FOLDER / lpips.WEIGHTS
    monkeypatch.setattr(lpips, "FOLDER", tmp_path)
    (tmp_path / lpips.WEIGHTS).write_bytes(shipped.read_bytes()[:999])
    with pytest.raises(FileError, match=rf"{lpips.WEIGHTS} is truncated"):
        lpips.load_lpips.__wrapped__()
