"""Fronts, fingerprints, numbers of sets, seeds and trajectories: from run folders to the page."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.findings.folders import COLUMNS, run
from treg_exp.files import write_json
from treg_exp.findings import provenance, tables
from treg_exp.findings.charts import curves
from treg_exp.findings.charts.drawing import figures
from treg_exp.findings.charts.fronts import front, points, wanted
from treg_exp.findings.collection import collect
from treg_exp.findings.methods import Method, all_columns, methods
from treg_exp.findings.pairing import baseline_of, pairings
from treg_exp.findings.report import report


def compared(folder: Path) -> list[Method]:
    return methods(collect([folder]).runs)


def test_a_front_knows_which_way_is_better(tmp_path: Path) -> None:
    """LPIPS falls, PSNR rises, seconds are a cost: (1, 0.3), (2, 0.2) and (4, 0.1) are beaten by none, (3, 0.25) is."""
    for k, (seconds, lpips) in enumerate(((1, 0.3), (2, 0.2), (3, 0.25), (4, 0.1))):
        run(
            tmp_path / f"r{k}", lambda i, s=seconds, v=lpips: {"seconds": s, "lpips": v, "psnr": 30 - 10 * v, "nfe": s},
            guidance__scale=k,
        )  # fmt: skip
    found = compared(tmp_path)
    assert wanted(["psnr", "lpips", "seconds", "nfe", "residual"]) == [("seconds", "lpips"), ("nfe", "lpips")]
    for y in ("lpips", "psnr"):
        assert [point["front"] for point in points(found, "seconds", y, COLUMNS)] == [True, True, False, True]
    names = front(found, "seconds", "lpips", COLUMNS).to_dict()["title"]["text"]
    assert names[1:] == ["1  guidance.scale=0", "2  guidance.scale=1", "3  guidance.scale=3"]


def test_alignment_against_residual() -> None:
    assert wanted(["judge_own", "residual"]) == [("residual", "judge_own")]


def test_fingerprints_say_whether_runs_measured_the_same(tmp_path: Path) -> None:
    for k, measured in enumerate(("m", "m", "other", None)):
        folder = run(tmp_path / f"r{k}", lambda i: {"psnr": i}, measured=measured, guidance__scale=k)
        write_json(folder / "prior_files.json", {"unet": {"sha256": "a" if k < 3 else "b", "modified": [k]}})
    runs = collect([tmp_path]).runs
    found = methods(runs)
    table = provenance.fingerprints(runs)
    assert table["measurements"][0] == table["measurements"][1] != table["measurements"][2]
    assert table["measurements"][3] == "unknown"
    assert table["settings"].nunique() == 4
    assert table["prior"][0] == table["prior"][2] != table["prior"][3]  # when a file was written is no part of it
    told = provenance.said(runs, pairings(found, baseline_of(found, None)))
    assert told[0].startswith("sr_x8: the runs did not restore the same measurements, or not as many; compared are")
    assert told[1] == "The priors had 2 different sets of weights."
    same = provenance.said(runs[:2], [])
    assert same[0].startswith("sr_x8: all runs restored the same measurements (")
    assert same[1] == "The priors had the same weights."


def test_numbers_of_sets_are_shown_whatever_they_are(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", lambda i: {"psnr": i})
    kid = {"mean": 0.0123, "low": 0.01, "high": 0.02}
    metrics = {"psnr": {"mean": 5.5, "low": 4, "high": 7, "n": 12}, "kid": kid}
    sets = {"fid": 12.3456, "calibration": {"slope": 0.9, "bins": [1, 2]}}
    write_json(
        folder / "summary.json",
        {"variants": {"own": {"restorations": 12, "samples": 12, "metrics": metrics, **sets}}, "choice": {"rate": 0.5}},
    )
    table = provenance.of_sets(collect([tmp_path]).runs).set_index("text")
    assert table.loc["own text"].to_dict() == {
        "run": "a",
        "fid": "12.35", "calibration slope": "0.9", "calibration bins": "1, 2", "kid": "0.0123 [0.01, 0.02]",
        "choice rate": "",
    }  # fmt: skip
    assert table.loc[""]["choice rate"] == "0.5"


def test_how_much_means_depend_on_the_seed(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        run(tmp_path / f"s{seed}", lambda i, s=seed: {"psnr": 20 + i + s}, seed=seed)
    runs = collect([tmp_path]).runs
    (line,) = tables.seeds(methods(runs), ["psnr"], all_columns(runs)).to_dict("records")
    assert (line["seeds"], line["mean"], line["sd of seeds"]) == (3, "26.500", "1.000")
    assert (line["lowest"], line["highest"]) == ("25.500", "27.500")


def record(folder: Path, sample: str, residuals: list[float]) -> None:
    points = [{"step": k, "residual": value, "alignment": None} for k, value in enumerate(residuals)]
    write_json(
        folder / "samples" / sample / "own" / "trajectory.json",
        {"steps": len(residuals), "alignment_by": None, "points": points},
    )


def test_trajectories_are_drawn_per_sample(tmp_path: Path) -> None:
    for scale in (1, 3):
        folder = run(tmp_path / f"s{scale}", lambda i: {"psnr": i}, guidance__scale=scale)
        for sample in ("image_00", "image_03"):
            record(folder, sample, [50.0 * scale, 10.0, 1.0])
    found = compared(tmp_path)
    drawn = figures(found, [], ["psnr"], COLUMNS)
    assert [name for name in drawn if drawn[name].of_steps] == ["steps_residual"]  # alignment has no number
    spec = drawn["steps_residual"].in_page()
    assert spec["params"][0]["bind"]["options"] == ["image_00", "image_03"]
    (data,) = spec["datasets"].values()
    first = [line for line in data if line["sample"] == "image_00" and line["method"] == "guidance.scale=3"]
    assert [line["value"] for line in first] == [150.0, 10.0, 1.0]
    assert curves.recorded(found)["image_03"].keys() == {"guidance.scale=1", "guidance.scale=3"}


def test_a_damaged_trajectory_is_none(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", lambda i: {"psnr": i})
    record(folder, "image_00", [1.0])
    (folder / "samples" / "image_00" / "own" / "trajectory.json").write_text("{")
    assert curves.recorded(compared(tmp_path)) == {}


@pytest.fixture
def two(tmp_path: Path) -> Path:
    for scale in (1, 3):
        for seed in (0, 1):
            folder = run(
                tmp_path / "runs" / f"s{scale}{seed}", lambda i, s=seed: {"psnr": i + 0.3 * s * (i % 2)}, seed=seed,
                guidance__scale=scale,
            )  # fmt: skip
            record(folder, "image_00", [9.0, 1.0])
            write_json(folder / "summary.json", {"variants": {"own": {"kid": 0.5}}})
    return tmp_path / "runs"


def test_sections_stand_where_there_is_something(two: Path, tmp_path: Path) -> None:
    page = report([two], tmp_path / "out").page.read_text(encoding="utf-8")
    for section in ("seeds", "sets", "trajectories", "differences"):
        assert f'<section id="{section}">' in page
    alone = report([two / "s10"], tmp_path / "alone").page.read_text(encoding="utf-8")
    assert '<section id="seeds">' not in alone
    assert '<section id="differences">' not in alone


def test_effect_sizes_are_in_every_table(two: Path, tmp_path: Path) -> None:
    run(two / "z_better", lambda i: {"psnr": i + 1 + 0.1 * (i % 3)}, guidance__scale=5)
    report([two], tmp_path / "out")
    folder = tmp_path / "out" / "tables"
    lines: list[dict[str, Any]] = list(csv.DictReader((folder / "differences.csv").open()))
    line = next(line for line in lines if line["method"].endswith("=5"))
    assert float(line["g_low"]) < float(line["g"]) < float(line["g_high"])
    told = f"{float(line['g']):+.2f} ["
    assert told in (folder / "differences.md").read_text()
    assert told in (folder / "differences.tex").read_text()
    assert "Hedges' g_z" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")


def test_specifications_are_for_a_paper(two: Path) -> None:
    """Letters of 9 pt at the width of a column; no colour that colour-blind readers take for another."""
    spec = figures(compared(two), [], ["psnr"], COLUMNS)["steps_residual"].in_paper()
    assert spec["width"] in (252, 504)
    for part in ("axis", "legend"):
        assert spec["config"][part]["labelFontSize"] >= 7
    assert json.dumps(spec["config"]["range"]["category"][:3]) == '["#0072B2", "#D55E00", "#009E73"]'
