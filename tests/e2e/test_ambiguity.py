"""The ambiguity benchmark as a user runs it: find groups, restore them, read the score."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
import torch

from tests import warm
from tests.conftest import ROOT
from treg_exp.run_layout import read_rows
from treg_exp.signals.image import save_png

BENCHMARK = ["experiment=benchmark/ambiguity", "logger=csv", "draws=2"]
DEAF = ["solver=adjoint"]  # looks at no text


def call(*command: str, code: int = 0) -> tuple[str, str]:
    done = warm.run([sys.executable, *command], check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def run(*overrides: str, code: int = 0) -> tuple[str, str]:
    return call(str(ROOT / "run.py"), *BENCHMARK, *overrides, code=code)


def tool(*words: str, code: int = 0) -> tuple[str, str]:
    return call("-m", "treg_exp.cli", *words, code=code)


@pytest.fixture(scope="module")
def deaf(tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("ambiguity") / "deaf"
    out, _ = run(*DEAF, "task=colourisation", f"run_dir={folder}")
    return folder, out


def test_a_deaf_solver_gets_chance_exactly(deaf) -> None:
    folder, out = deaf
    score = json.loads((folder / "summary.json").read_text())["ambiguity"]
    assert score["groups"] >= 10
    assert score["incomplete"] == 0
    assert score["pick"]["mean"] == score["chance"] == 0.5
    assert score["pick"]["low"] == score["pick"]["high"] == 0.5
    assert score["variance_ratio"]["own"] is None  # its draws do not differ
    assert score["ceiling"]["mean"] > 0.8
    assert "a solver that is deaf to it gets 50 %" in out
    rows = read_rows(folder)
    assert {row["variant"] for row in rows} == {"own", "other_1", "no_text", "wrong"}  # no triple: no other_2


def test_the_command_says_the_same_of_the_folder(deaf, tmp_path: Path) -> None:
    folder, out = deaf
    again, _ = tool("ambiguity", str(folder))
    assert again.strip().splitlines()[1:] == out.strip().splitlines()[-len(again.strip().splitlines()) + 1 :]
    table, _ = tool("ambiguity", str(folder), "--markdown")
    assert "| deaf | " in table
    (tmp_path / "rows").mkdir()
    _, err = tool("ambiguity", str(tmp_path), code=2)
    assert "no run" in err
    assert err.count("\n") == 1


def test_the_prior_restores_a_triple(tmp_path: Path) -> None:
    out, _ = run("data.limit=2", "solver.steps=2", f"run_dir={tmp_path}/r")
    score = json.loads((tmp_path / "r" / "summary.json").read_text())["ambiguity"]
    assert (score["groups"], score["pictures"], score["restorations"]) == (1, 2, 20)
    assert score["chance"] == pytest.approx(1 / 3)
    assert 0 <= score["pick"]["mean"] <= 1
    assert score["variance_ratio"]["own"]["mean"] > 0
    assert score["residual"]["other"]["mean"] == pytest.approx(1, abs=0.1)
    assert "a solver that is deaf to it gets 33 %" in out


def test_a_task_without_groups_ends_at_the_start(tmp_path: Path) -> None:
    _, err = run("task=sr_x4", f"run_dir={tmp_path}/r", code=2)
    assert "no groups for the task sr_x4, only for: box_inpainting, colourisation, sr_x16" in err
    assert not (tmp_path / "r").exists()


def test_groups_of_a_folder_of_ones_own(tmp_path: Path) -> None:
    """Four pictures without any structure but their colour; two have one grey value."""
    values = {"sea": (-0.6, 0.0, 0.6), "fire": (0.6, 0.0, -0.6), "snow": (0.9, 0.9, 0.9), "coal": (-0.9, -0.9, -0.9)}
    with (tmp_path / "captions.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["sample_id", "caption"])
        for name, colour in values.items():
            save_png(torch.tensor(colour)[:, None, None].expand(3, 64, 64), tmp_path / "pictures" / f"{name}.png")
            rows.writerow([name, f"a photo of {name}"])
    data = ["data=folder", f"data.path={tmp_path}/pictures", f"data.manifest={tmp_path}/captions.csv"]
    out, _ = tool("pairs", "task=colourisation", *data, "--out", f"{tmp_path}/groups")
    assert "colourisation: 1 groups, 2 pictures to restore, among 4" in out
    written = sorted(file.name for file in (tmp_path / "groups").rglob("*.*"))
    assert written == ["colourisation.json", "fire.png", "sea.png", "sheet_colourisation_0.png"]
    (tmp_path / "groups" / "sheet_colourisation_1.png").write_bytes(b"of a search that found more")
    tool("pairs", "task=colourisation", *data, "--out", f"{tmp_path}/groups")
    assert sorted(file.name for file in (tmp_path / "groups").rglob("*.*")) == written
    run(*DEAF, "task=colourisation", f"data.path={tmp_path}/groups", f"run_dir={tmp_path}/r")
    rows = {(row["sample_id"], row["variant"]): row["prompt"] for row in read_rows(tmp_path / "r")}
    assert rows["sea", "other_1"] == "a photo of fire"
    assert rows["sea", "wrong"] in (
        "a photo of snow",
        "a photo of coal",
    )
    rejected = tmp_path / "rejected.csv"
    rejected.write_text("first,second,reason\nsea,fire,no\n")
    _, err = tool("pairs", "task=colourisation", *data, "--out", f"{tmp_path}/g2", "--reject", str(rejected), code=2)
    assert "--closest=5.0" in err
    assert err.count("\n") == 1
    rejected.write_text("first,second,reason\nsea,,no\n")
    _, err = tool("pairs", "task=colourisation", *data, "--out", f"{tmp_path}/g2", "--reject", str(rejected), code=2)
    assert "rejected.csv, line 2: needs first, second" in err
    _, err = tool("pairs", "task=random_inpainting", *data, "--out", f"{tmp_path}/g2", code=2)
    assert "another operator for every sample" in err
    _, err = tool("pairs", "task=nothing", *data, "--out", f"{tmp_path}/g2", code=2)
    assert "nothing" in err
    assert err.count("\n") == 1
