"""Distances of a run's pictures to its targets, per variant, from the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.reports.columns import COLUMNS
from treg_exp.errors import FileError
from treg_exp.metrics.sets.frechet import FID
from treg_exp.metrics.sets.kernel import KID
from treg_exp.reports import sets
from treg_exp.reports.sets import add_sets, summarise_sets
from treg_exp.reports.summary import summarise
from treg_exp.reports.table import render
from treg_exp.run_layout import RunLayout
from treg_exp.signals.image import ImageMedium, save_png

METRICS = {"kid": KID(subsets=20), "fid": FID()}
LEVELS = {"near": 0.05, "far": 0.8}


@pytest.fixture
def run(tmp_path: Path) -> tuple[RunLayout, list[dict[str, Any]]]:
    """Twelve images, two variants with more and less noise, two draws."""
    g, rows = torch.Generator().manual_seed(0), []
    for i in range(12):
        folder = tmp_path / "samples" / f"s{i:02d}"
        target = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4, generator=g) * 2 - 1, size=(64, 64))[0]
        save_png(target, folder / "target.png")
        for variant, level in LEVELS.items():
            for draw in range(2):
                noisy = (target + level * torch.randn(3, 64, 64, generator=g)).clamp(-1, 1)
                save_png(noisy, folder / variant / f"draw_{draw:03d}" / "reconstruction.png")
                rows.append({"sample_id": f"s{i:02d}", "variant": variant, "draw": draw, "prompt": "", "psnr": 1.0})
    return RunLayout(tmp_path), rows


def test_values_are_those_of_the_pictures(run: tuple[RunLayout, list[dict[str, Any]]]) -> None:
    layout, rows = run
    found = summarise_sets(layout, rows, METRICS)
    kid, fid = found["kid"]["variants"], found["fid"]["variants"]
    assert kid["near"]["value"] < kid["far"]["value"]
    assert fid["near"]["value"] < fid["far"]["value"]
    assert (kid["near"]["n"], kid["near"]["draws"], kid["near"]["subset_size"]) == (12, 2, 6)
    assert kid["far"]["low"] < kid["far"]["value"] < kid["far"]["high"]
    assert fid["far"]["standard_error"] is fid["far"]["low"] is None
    extractor, stems = METRICS["fid"].extractor, [layout.sample(f"s{i:02d}") for i in range(12)]

    def features(name: str) -> torch.Tensor:
        return extractor.features(torch.stack([ImageMedium().load(stem / name) for stem in stems]))

    by_draw = [METRICS["fid"](features(f"far/draw_{d:03d}/reconstruction"), features("target")).value for d in (0, 1)]
    assert fid["far"]["value"] == pytest.approx(sum(by_draw) / 2, rel=1e-4), "each draw is a set of its own"


def test_what_is_kept_with_them(run: tuple[RunLayout, list[dict[str, Any]]]) -> None:
    layout, rows = run
    columns = COLUMNS.with_more({name: c for metric in METRICS.values() for name, c in metric.columns.items()})
    summary = summarise(rows, columns.of_rows)
    add_sets(summary, layout, rows, METRICS)
    about = summary["sets"]["kid"]
    assert (about["extractor"], about["width"], about["metric"]) == ("judge", 512, "kid")
    assert about["settings"] == {"subsets": 20, "subset_size": 1000, "seed": 0, "paired": True}
    assert about["made_by"]["version"] == "1"
    assert set(about["made_by"]["weights"]) == {"config.json", "model.safetensors"}
    value = about["variants"]["far"]
    shown = summary["variants"]["far"]["metrics"]["kid"]
    assert shown == {"mean": value["value"], "low": value["low"], "high": value["high"], "n": 12}
    assert ["KID: of 12 images" in note for note in summary["notes"]] == [True, False]
    text = render(summary, columns)
    assert "FID: 12 images are fewer than 2,048" in text.replace("\n", " ")
    assert "judge" in text
    assert "kid" not in columns.of_rows, "no column of results.csv"


def test_they_do_not_depend_on_how_many_are_read_at_once(
    run: tuple[RunLayout, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, rows = run
    whole = summarise_sets(layout, rows, METRICS)
    monkeypatch.setattr(sets, "AT_ONCE", 5)
    parts = summarise_sets(layout, list(reversed(rows)), METRICS)
    for column in METRICS:
        for variant in LEVELS:
            one, other = (found[column]["variants"][variant]["value"] for found in (whole, parts))
            assert one == pytest.approx(other, rel=1e-4, abs=1e-7)


def test_without_targets_or_with_one_image_there_is_nothing(run: tuple[RunLayout, list[dict[str, Any]]]) -> None:
    layout, rows = run
    assert summarise_sets(layout, rows, {}) == {}
    assert summarise_sets(layout, [row for row in rows if row["sample_id"] == "s00"], METRICS) == {}
    (layout.sample("s00") / "target.png").unlink()
    assert summarise_sets(layout, rows, METRICS)["kid"]["variants"]["near"]["n"] == 11
    for i in range(12):
        (layout.sample(f"s{i:02d}") / "target.png").unlink(missing_ok=True)
    summary = summarise(rows)
    add_sets(summary, layout, rows, METRICS)
    assert "sets" not in summary


def test_a_damaged_picture_is_named(run: tuple[RunLayout, list[dict[str, Any]]]) -> None:
    layout, rows = run
    (layout.sample("s03") / "target.png").write_bytes(b"no picture")
    with pytest.raises(FileError, match=r"^s03: target cannot be read"):
        summarise_sets(layout, rows, METRICS)
