"""Whole runs with metrics of sets and of draws, other versions of metrics, and a judge that is no other network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from tests.engine.test_app import BASE, composed, go
from tests.metrics.test_independence import CONFIG
from treg_exp.app import run
from treg_exp.errors import ConfigError
from treg_exp.metrics.fidelity import PSNR
from treg_exp.run_layout import read_rows


def summary_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def test_sets_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    rows = go(folder, "data.limit=4", "draws=3", "metrics=sets", "solver.steps=2", "experiment=single")
    summary = summary_of(folder)
    (entry,) = summary["variants"].values()
    assert {"kid", "fid", "psnr", "psnr_of_mean", "psnr_best", "coverage_90", "z_rms"} <= set(entry["metrics"])
    assert (entry["draws"], entry["metrics"]["kid"]["n"]) == (3, 4)
    assert not {"kid", "fid", "psnr_best"} & set(next(iter(rows.values())))
    header = (folder / "results.csv").read_text().splitlines()[0].split(",")
    assert "kid" not in header
    assert "scored_by" in header
    told = capsys.readouterr().out
    for words in ("KID", "FID", "best of 3†", "spread of the draws", "fewer than 2,048"):
        assert words in told
    batches = {row["batch"] for row in rows.values()}
    assert batches <= {8, 4}
    columns = json.loads((folder / "columns.json").read_text())
    assert columns["columns"]["kid"]["of"] == "set"
    assert list(columns["scored_by"]) == list(summary["scored_by"]) == [next(iter(rows.values()))["scored_by"]]


def test_a_last_step_brings_any_solver_to_the_noise_and_is_continued(tmp_path: Path) -> None:
    off, on, settings = tmp_path / "off", tmp_path / "on", ["solver=ldps", "data.limit=2", "experiment=single"]
    before = {key: row["residual"] for key, row in go(off, *settings).items()}
    rows = go(on, *settings, "last_step=projection")
    assert {key: row["residual_before"] for key, row in rows.items()} == before
    assert [row["residual"] for row in rows.values()] == pytest.approx([1, 1], abs=0.1)
    assert min(before.values()) > 3
    file = on / "rows" / "rank-0.jsonl"
    file.write_text(file.read_text().splitlines()[0] + "\n")
    again = go(on, *settings, "last_step=projection")
    assert [again[key]["psnr"] for key in rows] == pytest.approx([row["psnr"] for row in rows.values()], rel=1e-5)
    with pytest.raises(ConfigError, match="last_step"):
        go(on, *settings)


def test_a_run_that_other_versions_continue_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, settings = tmp_path / "run", ["data.limit=2", "metrics=default", "solver.steps=2", "experiment=single"]
    go(folder, *settings)
    rows = folder / "rows" / "rank-0.jsonl"
    rows.write_text(rows.read_text().splitlines()[0] + "\n")
    capsys.readouterr()
    monkeypatch.setattr(PSNR, "version", "2")
    go(folder, *settings)
    told = capsys.readouterr().out
    assert "note: 1 restorations were scored by other versions of psnr; do not compare" in told
    assert "Rows were scored by 2 versions of metrics (psnr): do not mix them." in told
    assert len({row["scored_by"] for row in read_rows(folder)}) == len(summary_of(folder)["scored_by"]) == 2
    assert len(json.loads((folder / "columns.json").read_text())["scored_by"]) == 2


def test_a_judge_that_guides_is_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tiny-one", "tiny-other"):
        (tmp_path / f"{name}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(tmp_path)
    files = {}
    for seed, name in enumerate(("tiny-one", "tiny-other")):
        torch.manual_seed(seed)
        model = open_clip.create_model(name, load_weights=False)
        files[name] = tmp_path / f"{name}.safetensors"
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, files[name])
    target = "_target_: treg_exp.priors.image_text.open_clip.OpenClipFiles"
    guide = f"text_match.open_clip={{{target}, model: tiny-one, weights: '{files['tiny-one']}'}}"
    settings = [
        *BASE, f"run_dir={tmp_path / 'run'}", "experiment=single", "text_match=image_text", guide, "data.limit=1",
        "metrics=judge_open_clip", "metrics.judge_alignment.open_clip.pretrained=null", "solver.steps=2",
    ]  # fmt: skip
    judge = "metrics.judge_alignment.open_clip."
    with pytest.raises(
        ConfigError,
        match=r"^metrics\.judge_alignment\.open_clip\.weights=.*holds the weights of variants\..*text_match",
    ):
        run(composed(*settings, f"{judge}model=tiny-other", f"{judge}weights={files['tiny-one']}"))
    assert not (tmp_path / "run").exists()
    run(composed(*settings, f"{judge}model=tiny-other", f"{judge}weights={files['tiny-other']}"))
    (row,) = read_rows(tmp_path / "run")
    assert -1 <= row["judge_own"] <= 1
