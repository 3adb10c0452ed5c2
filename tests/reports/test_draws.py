"""With several draws, numbers of one draw, of their mean and of the best are kept apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.reports.columns import COLUMNS
from treg_exp.metrics.fidelity import PSNR, SSIM, psnr
from treg_exp.reports.columns import read_columns
from treg_exp.reports.draws_table import counts_of_draws as summary_counts
from treg_exp.reports.posterior import write_posterior
from treg_exp.reports.summary import summarise
from treg_exp.reports.table import render
from treg_exp.signals.image import ImageMedium, save_png

METRICS = {"psnr": PSNR(), "ssim": SSIM()}


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Three images, four draws of each, with numbers as metrics would give them."""
    g, rows = torch.Generator().manual_seed(0), []
    for sample in range(3):
        folder = tmp_path / "samples" / f"s{sample}"
        target = torch.rand(3, 16, 16, generator=g) - 0.5
        save_png(target, folder / "target.png")
        for draw in range(4):
            place = folder / "own" / f"draw_{draw:03d}" / "reconstruction.png"
            save_png((target + 0.2 * torch.randn(3, 16, 16, generator=g)).clamp(-1, 1), place)
            pair = [ImageMedium().load(stem)[None] for stem in (place.with_suffix(""), folder / "target")]
            values = {"psnr": float(psnr(*pair)), "lpips": 0.1 * draw, "residual": 1.0 + draw, "seconds": 1.0}
            rows.append({"sample_id": f"s{sample}", "variant": "own", "draw": draw, "prompt": "", **values})
    COLUMNS.write(tmp_path / "columns.json")
    return tmp_path, rows


def test_each_has_its_own_columns(drawn: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = drawn
    posterior = write_posterior(folder, rows, METRICS)
    summary = summarise(rows, COLUMNS.of_rows, posterior)
    entry, single = summary["variants"]["own"], [row["psnr"] for row in rows]
    numbers = {name: value["mean"] for name, value in entry["metrics"].items()}
    assert entry["draws"] == 4
    assert numbers["psnr"] == pytest.approx(sum(single) / 12), "of single draws alone"
    best = sum(max(single[i : i + 4]) for i in (0, 4, 8)) / 3
    assert numbers["psnr_best"] == pytest.approx(best)
    assert numbers["psnr_of_mean"] > numbers["psnr_best"] + 3, "noise of draws averages out"
    assert numbers["lpips_best"] == 0.0, "the lowest is the best one"
    assert "lpips_of_mean" not in numbers, "no metric of this run gives it"
    assert numbers["ssim_of_mean"] < 1
    assert "residual_best" not in numbers, "it does not ask the target"
    assert "seconds_best" not in numbers
    assert {row["draws"] for row in posterior} == {4}


def test_the_mean_is_judged_as_any_picture_is(drawn: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = drawn
    first = write_posterior(folder, rows, METRICS)[0]
    stems = [folder / "samples/s0/own" / f"draw_{draw:03d}" / "reconstruction" for draw in range(4)]
    mean = torch.stack([ImageMedium().load(stem).double() for stem in stems]).mean(0)
    target = ImageMedium().load(folder / "samples/s0/target").double()
    assert first["psnr_of_mean"] == pytest.approx(float(psnr(mean[None], target[None])))


def test_the_best_is_of_as_many_draws_for_every_image(drawn: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = drawn
    found = write_posterior(folder, [row for row in rows if (row["sample_id"], row["draw"]) != ("s1", 3)], METRICS)
    assert ["psnr_best" in row for row in found] == [True, False, True]
    summary = summarise(rows, COLUMNS.of_rows, found)
    assert summary["variants"]["own"]["metrics"]["psnr_best"]["n"] == 2
    assert summary["variants"]["own"]["metrics"]["psnr_of_mean"]["n"] == 3


def test_tables_say_which_is_which(drawn: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = drawn
    posterior = write_posterior(folder, rows, METRICS)
    text = render(summarise(rows, COLUMNS.of_rows, posterior), read_columns(folder))
    first, draws, spread = text.split("\n\n")[:3]
    assert "Numbers are of single draws, averaged over the 4 of each image" in " ".join(first.split())
    assert "of mean" not in first
    line = next(line for line in draws.splitlines() if "PSNR" in line)
    numbers = [float(part) for part in line.split() if part.replace(".", "").isdigit()]
    expected = [summarise(rows, {}, posterior)["variants"]["own"]["metrics"][n]["mean"] for n in PSNR_COLUMNS]
    assert numbers == pytest.approx(expected, abs=0.006)
    assert "best of 4†" in draws
    assert "oracle that sees the target" in " ".join(draws.split())
    assert "in 90 %" in spread
    assert "calibrated: 1" in " ".join(spread.split())
    one_each = [row for row in rows if row["draw"] == 0]
    assert "draws" not in render(summarise(one_each, COLUMNS.of_rows), read_columns(folder))


def test_entries_of_different_draws_say_how_many_each_has(drawn: tuple[Path, list[dict[str, Any]]]) -> None:
    """As in the table of a sweep over the number of draws."""
    folder, rows = drawn
    entries = {}
    for draws in (2, 4):
        own = [row for row in rows if row["draw"] < draws]
        entries[f"draws={draws}"] = summarise(own, COLUMNS.of_rows, write_posterior(folder, own, METRICS))
    both = {name: summary["variants"]["own"] for name, summary in entries.items()}
    summary = {**entries["draws=4"], "variants": both}
    first, draws, _ = render(summary, read_columns(folder)).split("\n\n")[:3]
    assert "averaged over those of each image" in " ".join(first.split())
    assert "draws: several of each image" in draws
    heading = next(line for line in draws.splitlines() if "one draw" in line).split()
    assert heading == ["variant", "number", "draws", "one", "draw", "of", "mean", "best†"]
    counts = [line.split()[4] for line in draws.splitlines() if line.startswith("draws=") and "PSNR" in line]
    assert counts == ["2", "4"]
    assert "best of" not in draws
    assert summary_counts(summary) == [2, 4]


PSNR_COLUMNS = ("psnr", "psnr_of_mean", "psnr_best")


def test_two_draws_have_no_calibration(drawn: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = drawn
    found = write_posterior(folder, [row for row in rows if row["draw"] < 2], METRICS)
    assert "coverage_90" not in found[0]
    assert found[0]["psnr_of_mean"] is not None
