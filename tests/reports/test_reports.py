"""Reports from a run folder: what counts as a row, the figures, the table and the picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.reports.columns import COLUMNS
from treg_exp.files import append_json_line, write_json
from treg_exp.metrics.column import Column, Columns
from treg_exp.metrics.data_numbers import DataNumbers
from treg_exp.reports.columns import read_columns
from treg_exp.reports.grid import CELL, write_grid
from treg_exp.reports.rows import write_results
from treg_exp.reports.summary import interval, summarise
from treg_exp.reports.table import render
from treg_exp.run_layout import read_rows
from treg_exp.signals.image import save_png

VARIANTS = ["none", "own", "counterfactual"]


def row(sample: int, variant: str, psnr: float | None, draw: int = 0, **more: Any) -> dict[str, Any]:
    prompt = "" if variant == "none" else f"prompt {sample}"
    return {
        "sample_id": f"s{sample}",
        "variant": variant,
        "draw": draw,
        "prompt": prompt,
        "psnr": psnr,
        **more,
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three images, three variants, rows of two processes, all pictures."""
    for sample in range(3):
        folder = tmp_path / "samples" / f"s{sample}"
        for name, size in (("target", 64), ("measurement", 8), ("pseudo_inverse", 64)):
            save_png(torch.full((3, size, size), sample / 4), folder / f"{name}.png")
        for i, variant in enumerate(VARIANTS):
            values = {"residual": 1.0, "align_own": 0.25, "seconds": 1.5, "nfe": 200}
            append_json_line(
                tmp_path / "rows" / f"rank-{sample % 2}.jsonl",
                row(sample, variant, 20.0 + sample - i, **values),
            )
            save_png(torch.zeros(3, 64, 64), folder / variant / "reconstruction.png")
    COLUMNS.write(tmp_path / "columns.json")
    return tmp_path


def test_rows_skip_torn_lines_and_repeats(run: Path) -> None:
    rows = run / "rows" / "rank-1.jsonl"
    with rows.open("ab") as file:
        file.write('{"sample_id": "s7", "prompt": "grün'.encode()[:-1])  # inside of a character
    assert len(read_rows(run)) == 9
    append_json_line(rows, row(1, "own", 99.0))  # repeated: the first counts
    append_json_line(rows, row(1, "own", 31.0, draw=1))
    found = read_rows(run)
    assert len(found) == 10
    assert [r["psnr"] for r in found if (r["sample_id"], r["variant"]) == ("s1", "own")] == [20.0, 31.0]
    assert [r["sample_id"] for r in found[:4]] == ["s0", "s0", "s0", "s2"]


def test_no_rows_yet(tmp_path: Path) -> None:
    assert read_rows(tmp_path) == []
    assert summarise([]) == {"restorations": 0, "samples": 0, "variants": {}}
    with pytest.raises(ValueError, match="no restoration of the variants own to draw"):
        write_grid(tmp_path, ["own"], tmp_path / "grid.png")


def test_results_csv_is_complete_and_stable(run: Path) -> None:
    rows = [*read_rows(run), row(9, "own", None, novel=0.1, prompt_note='a "b", c')]
    with write_results(rows, COLUMNS.known, run / "results.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == [
        *("sample_id", "variant", "draw", "prompt", "psnr", "ssim", "lpips", "residual", "residual_before"),
        *("judge_own", "judge_counterfactual", "align_own", "align_counterfactual"),
        *("seconds", "nfe", "nfe_backward", "encodes", "decodes", "peak_memory", "batch", "novel", "prompt_note"),
    ]
    assert lines[1] == [
        "s0",
        "none",
        "0",
        "",
        "20.0",
        "",
        "",
        "1.0",
        "",
        "",
        "",
        "0.25",
        "",
        "1.5",
        "200",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
    ]
    assert lines[10] == [
        "s9",
        "own",
        "0",
        "prompt 9",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "0.1",
        'a "b", c',
    ]


def test_means_per_variant(run: Path) -> None:
    summary = summarise(read_rows(run), COLUMNS.known)
    assert (summary["restorations"], summary["samples"], list(summary["variants"])) == (9, 3, VARIANTS)
    own = summary["variants"]["own"]
    assert (own["samples"], own["restorations"]) == (3, 3)
    assert own["metrics"]["psnr"] == {"mean": 20.0, "low": 19.0, "high": 21.0, "n": 3}
    assert "ssim" not in own["metrics"]  # nobody measured it
    write_json(run / "summary.json", summary)
    assert json.loads((run / "summary.json").read_text()) == summary


def test_draws_of_one_image_are_averaged_first() -> None:
    rows = [
        row(0, "own", 10.0),
        row(0, "own", 20.0, draw=1),
        row(0, "own", None, draw=2),
        row(1, "own", 30.0),
    ]
    own = summarise(rows)["variants"]["own"]
    assert (own["samples"], own["restorations"]) == (2, 4)
    assert (own["metrics"]["psnr"]["mean"], own["metrics"]["psnr"]["n"]) == (22.5, 2)


def test_interval_covers_like_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(10, 2, 400)
    low, high = interval(values.tolist())
    assert low is not None
    assert high is not None
    half = 1.96 * values.std() / 20
    assert (low, high) == (
        pytest.approx(values.mean() - half, abs=0.02),
        pytest.approx(values.mean() + half, abs=0.02),
    )
    assert interval(values.tolist()) == (low, high)


@pytest.mark.parametrize("drawn", [1, 500, 7777, 2**21])
def test_intervals_do_not_depend_on_how_many_numbers_are_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch, drawn: int
) -> None:
    values = np.random.default_rng(1).normal(size=151)
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, 151, (2000, 151))].mean(axis=1)
    monkeypatch.setattr("treg_exp.reports.bootstrap.MOST_DRAWN", drawn)
    assert interval(values.tolist()) == tuple(np.percentile(means, [2.5, 97.5]))
    assert interval([1.0]) == (None, None)
    assert interval([2.0] * 5) == (2.0, 2.0)


def test_table_fits_80_columns_without_colour(run: Path) -> None:
    extra = {"ssim": 0.9, "align_counterfactual": 0.3}
    rows = [r | extra | ({"novel": 0.125} if r["variant"] == "own" else {}) for r in read_rows(run)]
    text = render(summarise(rows), COLUMNS, title="super-resolution", width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    heading, units = text.splitlines()[1], text.splitlines()[3]
    assert heading.split() == [
        "variant",
        "n",
        "PSNR",
        "SSIM",
        "residual",
        "align",
        "align",
        "s",
        "per",
        "NFE",
        "novel",
    ]
    assert units.split() == ["dB", "↑", "↑", "↓", "↑*", "*"]
    own = next(line for line in text.splitlines() if line.startswith("own text"))
    assert own.split() == [
        "own",
        "text",
        "3",
        "20.00",
        "0.900",
        "1.000",
        "0.250",
        "0.300",
        "1.50",
        "200",
        "0.125",
    ]
    assert "±1.00" in text
    assert "* optimised for" in text
    assert "9 restorations of 3 images" in text


def test_a_number_without_a_better_direction_has_its_interval_and_a_cost_has_none() -> None:
    rows = [row(i, "own", 20.0, align_counterfactual=0.2 + 0.1 * i, nfe=100.0 + i) for i in range(3)]
    text = render(summarise(rows, COLUMNS.of_rows), COLUMNS)
    assert "±0.100" in text
    assert "±1" not in text


def test_a_small_last_batch_lowers_no_peak() -> None:
    rows = [row(i, "own", 20.0, peak_memory=8.0 if i < 6 else 2.0, group=i, seconds=float(i)) for i in range(7)]
    known = {**COLUMNS.of_rows, **DataNumbers(["group"]).columns}
    metrics = summarise(rows, known)["variants"]["own"]["metrics"]
    assert metrics["peak_memory"] == {"mean": 8.0, "low": None, "high": None, "n": 7}
    assert metrics["seconds"]["mean"] == 3.0
    assert "group" not in metrics, "the mean of the numbers of groups says nothing"
    assert "8.00" in render(summarise(rows, known), COLUMNS)


def test_columns_of_older_runs_had_no_summary(tmp_path: Path) -> None:
    """Those without a direction were costs, or of all draws together."""
    kept = {"nfe": {"label": "NFE"}, "psnr": {"label": "PSNR", "higher_is_better": True}}
    kept |= {"posterior_std": {"label": "std", "of": "draws"}, "align": {"label": "align", "summary": "mean"}}
    write_json(tmp_path / "columns.json", {"medium": "image", "sample_rate": None, "columns": kept})
    found = {name: column.summary for name, column in Columns.read(tmp_path / "columns.json").known.items()}
    assert found == {"nfe": "cost", "psnr": "mean", "posterior_std": "mean", "align": "mean"}


def test_table_becomes_wider_rather_than_break_the_names_of_variants(run: Path) -> None:
    many = {f"metric_{letter}": 0.5 for letter in "abcdefghijkl"}
    rows = [r | many | {"variant": "counterfactual"} for r in read_rows(run)]
    text = render(summarise(rows), COLUMNS, width=80)
    assert any(line.startswith("counterfactual") for line in text.splitlines())
    assert "…" not in text


def test_table_of_real_measurements_has_no_fidelity(run: Path) -> None:
    rows = [{"sample_id": "a", "variant": "own", "draw": 0, "prompt": "x", "psnr": None, "residual": 1.0}]
    text = render(summarise(rows), COLUMNS)
    assert "PSNR" not in text
    assert "optimised" not in text
    assert "±1" not in text  # one image has no interval


def test_table_shows_costs_where_they_are_of_interest() -> None:
    rows = [row(0, "own", 20.0, nfe=10.0, nfe_backward=0.0, encodes=3.0)]
    assert "backward" not in render(summarise(rows), COLUMNS)
    rows.append(row(0, "no_text", 20.0, nfe=10.0, nfe_backward=5.0, encodes=3.0))
    text = render(summarise(rows), COLUMNS)
    assert "backward" in text
    assert "encodes" not in text
    assert summarise(rows)["variants"]["own"]["metrics"]["encodes"]["mean"] == 3


def test_a_metric_without_any_number_says_why_where_it_can() -> None:
    asked = COLUMNS.with_more({"ms_ssim": Column("MS-SSIM", note="MS-SSIM: empty for images below 176 px.")})
    assert "No image has MS-SSIM. MS-SSIM: empty for images below 176 px." in " ".join(
        render(summarise([row(0, "own", 20.0)]), asked).split()
    )
    assert "MS-SSIM" not in render(summarise([row(0, "own", 20.0)]), COLUMNS)


def test_names_of_variants_leave_room_for_their_heading() -> None:
    assert "variant" in render(summarise([row(0, "own", 20.0)]), COLUMNS)


def test_a_run_older_than_its_columns_can_be_read(run: Path) -> None:
    (run / "columns.json").unlink()
    columns = read_columns(run)
    assert columns["psnr"].label == "psnr"
    assert columns.medium.name == "image"
    text = render(summarise(read_rows(run)), columns)
    assert {"variant", "n", "psnr", "residual"} < set(text.splitlines()[0].split())
    assert write_grid(run, VARIANTS, run / "grid.png").is_file()


def test_columns_come_back_as_they_were_written(run: Path) -> None:
    read = Columns.read(run / "columns.json")
    assert read == COLUMNS
    assert list(read.known) == list(COLUMNS.known)
    assert read.ordered(["novel", "nfe", "psnr"]) == ["psnr", "nfe", "novel"]
    assert list(read.with_more({"psnr": Column("x"), "last": Column("y")}).known)[-2:] == ["psnr", "last"]


def columns(path: Path) -> int:
    """Number of columns of a grid: runs of coloured pixels along the middle of the first row of pictures."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    inked = (pixels[60 + CELL // 2] < 250).any(axis=1)
    return int((np.diff(inked.astype(int), prepend=0) == 1).sum())


def test_grid_has_a_column_for_what_exists(run: Path) -> None:
    out = write_grid(run, VARIANTS, run / "grid.png")
    assert columns(out) == 6
    tall = Image.open(out).height
    assert Image.open(write_grid(run, VARIANTS, run / "grid2.png", max_rows=2)).height < tall
    assert Image.open(write_grid(run, VARIANTS, run / "grid3.png", title="a title")).height > tall
    for sample in range(3):
        (run / "samples" / f"s{sample}" / "target.png").unlink()
    assert columns(write_grid(run, VARIANTS, run / "grid.png")) == 5
    assert columns(write_grid(run, ["own"], run / "grid.png")) == 3


def test_grid_shows_the_samples_in_the_order_of_the_given_rows(run: Path) -> None:
    """The files of two processes have s0 and s2 before s1."""
    rows = sorted(read_rows(run), key=lambda r: r["sample_id"])
    assert [r["sample_id"] for r in read_rows(run)[::3]] == ["s0", "s2", "s1"]
    ordered = write_grid(run, VARIANTS, run / "grid.png", max_rows=2, rows=rows).read_bytes()
    (run / "rows" / "rank-1.jsonl").rename(run / "rows" / "rank-.jsonl")  # s1 first
    assert write_grid(run, VARIANTS, run / "grid.png", max_rows=2, rows=rows).read_bytes() == ordered
    assert write_grid(run, VARIANTS, run / "grid.png", max_rows=2).read_bytes() != ordered


def test_grid_shows_measured_pixels_as_squares(run: Path) -> None:
    y = torch.linspace(-1, 0.9, 64).reshape(1, 8, 8).expand(3, 8, 8)
    save_png(y, run / "samples" / "s0" / "measurement.png")
    pixels = np.asarray(Image.open(write_grid(run, VARIANTS, run / "grid.png", max_rows=1)))
    expected = np.repeat(np.repeat(np.asarray(Image.open(run / "samples/s0/measurement.png")), 24, 0), 24, 1)
    left, top = next(
        (x, y)
        for y in range(40, 80)
        for x in range(200, 280)
        if np.array_equal(pixels[y : y + CELL, x : x + CELL], expected)
    )
    assert (left, top) == (28 + CELL + 12, 58)


def test_grid_survives_missing_pictures_and_finds_draws(run: Path) -> None:
    (run / "samples" / "s0" / "own" / "reconstruction.png").unlink()
    save_png(torch.ones(3, 64, 64), run / "samples" / "s1" / "own" / "draw_000" / "reconstruction.png")
    (run / "samples" / "s1" / "own" / "reconstruction.png").unlink()
    assert columns(write_grid(run, VARIANTS, run / "grid.png")) == 6


def test_names_of_folders_are_no_markup(run: Path) -> None:
    """The title has the prior's, which is that of any folder."""
    table = render(summarise(read_rows(run), COLUMNS.known), COLUMNS, "x - prior [/b][red]y")
    assert table.splitlines()[0] == "x - prior [/b][red]y"
