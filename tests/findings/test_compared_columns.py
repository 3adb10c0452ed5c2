"""Which numbers are compared and tested, and what readers are told of the others."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.findings.folders import COLUMNS, run
from treg_exp.findings import tables
from treg_exp.findings.charts.drawing import figures
from treg_exp.findings.collection import collect
from treg_exp.findings.effects import Effect, effect_notes, effects
from treg_exp.findings.methods import Method, all_columns, methods, metrics_of
from treg_exp.findings.pairing import baseline_of, pairings
from treg_exp.findings.report import report
from treg_exp.metrics.column import OPTIMISED, Column, Columns
from treg_exp.run_layout import RunLayout

MORE = {
    "align_own": Column("align\nown", higher_is_better=True, optimised=True),
    "align_counterfactual": Column("align\nother", optimised=True),
    "target_judge": Column("target judge", in_table="never"),
    "peak_memory": Column("peak memory", "GB", 2, summary="max"),
    "group": Column("group", in_table="never", summary="none"),
    "psnr_of_mean": Column("PSNR\nof mean", "dB", 2, higher_is_better=True, of="draws"),
}


def numbers(scale: int, i: int) -> dict[str, float]:
    return {
        "psnr": 20 + scale + 0.1 * (i % 3) * scale, "lpips": 0.2 + 0.01 * i,
        "align_own": 0.1 * scale + 0.001 * i * scale,
        "align_counterfactual": 0.2 * scale, "target_judge": 0.5, "seconds": float(scale), "group": float(i),
        "peak_memory": 8.0 if i < 9 else 2.0,
    }  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for scale in (1, 3):
        folder = run(tmp_path / "runs" / f"s{scale}", lambda i, s=scale: numbers(s, i), guidance__scale=scale)
        replace(COLUMNS, known={**COLUMNS.known, **MORE}).write(RunLayout(folder).columns)
    return tmp_path / "runs"


def found(folder: Path) -> tuple[list[Method], dict[str, Effect], list[str], Columns]:
    own = collect([folder]).runs
    compared, columns = methods(own), all_columns(own)
    pairs, metrics = pairings(compared, baseline_of(compared, None)), metrics_of(compared, columns)
    made = {effect.metric: effect for effect in effects(pairs, metrics, columns)}
    return compared, made, effect_notes(pairs, metrics, columns), columns


def test_only_what_can_differ_for_the_better_is_tested(runs: Path) -> None:
    """Of two tests q is at most twice p. LPIPS is the same everywhere, the other text's nearness has no direction."""
    _, made, notes, columns = found(runs)
    assert set(made) == {"psnr", "lpips", "align_own", "align_counterfactual"}
    tested = {name: effect.q for name, effect in made.items() if effect.q is not None}
    assert set(tested) == {"psnr", "align_own"}
    least, most = sorted(effect.p or 0 for effect in made.values() if effect.p is not None)
    assert sorted(q for q in tested.values() if q) == pytest.approx([min(2 * least, most), most])
    other = made["align_counterfactual"]
    assert (other.mean, other.low, other.wins, other.p) == (pytest.approx(0.4), pytest.approx(0.4), None, None)
    verdicts = {name: tables.verdict(effect, columns) for name, effect in made.items()}
    assert verdicts == {"psnr": "better", "lpips": "same", "align_own": "better", "align_counterfactual": ""}
    assert notes == []


def test_a_number_without_a_direction_is_drawn_and_a_cost_is_not(runs: Path) -> None:
    compared, made, _, columns = found(runs)
    drawn = figures(compared, list(made.values()), [*COLUMNS.known, *MORE], columns)
    flat = [name for name, figure in drawn.items() if figure.flat]
    assert flat == ["effect_psnr", "effect_lpips", "effect_align_own", "effect_align_counterfactual"]
    spec = drawn["effect_psnr"].in_page()
    assert spec["height"] == 18, "a line of one method, in px"


def test_of_peaks_the_largest_counts(runs: Path) -> None:
    compared, _, _, columns = found(runs)
    assert compared[0].statistics("peak_memory") == {"mean": 8.0, "low": None, "high": None, "n": 12}
    table = tables.means(compared, ["peak_memory", "group"], columns)
    assert "group" not in table
    assert table["peak_memory"].tolist() == [8.0, 8.0]


def draw(folder: Path, draws: int) -> None:
    """Give all images of a run so many draws."""
    file = folder / "rows" / "rank-0.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("".join(line.replace('"draw": 0', f'"draw": {k}') + "\n" for line in lines for k in range(draws)))
    together = "".join(f"image_{i:02d},own,{draws},{20 + draws + 0.1 * i}\n" for i in range(12))
    (folder / "posterior.csv").write_text(f"sample_id,variant,draws,psnr_of_mean\n{together}")


def test_the_best_of_more_draws_is_not_compared_with_that_of_less(runs: Path) -> None:
    draw(runs / "s1", 2)
    draw(runs / "s3", 2)
    _, made, notes, _ = found(runs)
    assert made["psnr_of_mean"].n == 12
    assert notes == []
    draw(runs / "s3", 1)
    (runs / "s3" / "posterior.csv").unlink()
    run(runs / "s5", lambda i: numbers(5, i), guidance__scale=5)
    draw(runs / "s5", 6)
    _, made, notes, _ = found(runs)
    assert "psnr_of_mean" not in made
    assert made["psnr"].n == 12
    assert notes == [
        "sr_x8: numbers of all draws together (of mean, best, spread) depend on their number, and are not compared "
        "where the baseline has not as many draws: 12 images of guidance.scale=5."
    ]


def test_what_the_baseline_lacks_is_named(runs: Path) -> None:
    run(runs / "s0", lambda i: {"psnr": i}, guidance__scale=0)
    _, made, notes, _ = found(runs)
    assert set(made) == {"psnr"}
    told = "sr_x8: the baseline guidance.scale=0 has no LPIPS, align own, align other; nothing is compared in them."
    assert notes == [told]


def test_what_is_optimised_for_is_marked(runs: Path, tmp_path: Path) -> None:
    page = report([runs], tmp_path / "out").page.read_text(encoding="utf-8")
    assert page.count(OPTIMISED) == 2
    folder = tmp_path / "out" / "tables"
    for name in ("means", "differences"):
        assert "align own ↑*" in (folder / f"{name}.md").read_text(encoding="utf-8")
        assert (folder / f"{name}.md").read_text(encoding="utf-8").endswith(f"\n\n\\{OPTIMISED}\n")
        assert OPTIMISED in (folder / f"{name}.tex").read_text(encoding="utf-8")
    lines: list[dict[str, Any]] = list(csv.DictReader((folder / "differences.csv").open()))
    verdicts = {line["metric"]: (line["verdict"], line["q"] != "") for line in lines}
    assert verdicts["align_own"] == ("better", True)
    assert verdicts["align_counterfactual"] == ("", False)
    read = next(line for line in (folder / "differences.md").read_text().splitlines() if "align own" in line)
    assert read.split("|")[-2].strip() == "better*"


def test_restorations_have_the_columns_of_all_rows(tmp_path: Path) -> None:
    """A run that was begun by an earlier version lacks some of them in its first rows."""
    run(tmp_path / "a", lambda i: {"psnr": i} if i < 7 else {"psnr": i, "batch": 4.0})
    page = report([tmp_path], tmp_path / "out").page.read_text(encoding="utf-8")
    assert ">batch<" in page[page.index('id="rows"') :]
