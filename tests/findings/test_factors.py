"""What was varied is found in runs and in variants, and drawn along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.findings.folders import COLUMNS, run
from treg_exp.findings.charts.drawing import figures
from treg_exp.findings.charts.factors import drawings
from treg_exp.findings.collection import collect
from treg_exp.findings.factors import cells, factors, pairs_of, settings_of
from treg_exp.findings.methods import Method, methods

OWN, OTHER = "treg_exp.data.prompts.PromptFromCaption", "treg_exp.data.prompts.FixedPrompt"


def pairs(compared: list[Method]) -> list[tuple[str, str]]:
    return [(one.name, two.name) for one, two in pairs_of(factors(compared))]


def two_texts(folder: Path, scale: int, quality: float, **variants: Any) -> None:
    """A run with the rows of several variants."""
    given = variants or {"own": {}, "counterfactual": {"prompt": {"role": "counterfactual"}}}
    run(folder, lambda i: {"psnr": quality + i}, guidance__scale=scale, variants=given)
    file = folder / "rows" / "rank-0.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    every = [
        row | {"variant": name, "psnr": row["psnr"] + 2 * k * scale} for k, name in enumerate(given) for row in rows
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in every))


def test_a_setting_of_runs_crosses_the_text_of_variants(tmp_path: Path) -> None:
    for scale in (1, 3, 5):
        two_texts(tmp_path / f"s{scale}", scale, quality=10.0 * scale)
    compared = methods(collect([tmp_path]).runs)
    assert pairs(compared) == [("guidance.scale", "text")]
    along, text = pairs_of(factors(compared))[0]
    found = {(cell.x, cell.line): cell.mean for cell in cells(compared, "psnr", along, text)}
    assert found[3.0, "own text"] == pytest.approx(35.5)
    assert found[5.0, "counterfactual text"] == pytest.approx(65.5)
    assert len(found) == 6


def test_what_is_left_out_where_it_is_off_is_a_level_of_its_own(tmp_path: Path) -> None:
    """Else runs with and without a last step would be averaged, as one method."""
    last = {"last_step": {"_target_": "treg_exp.solvers.last_projection.LastProjection", "residual": 1.0}}
    for scale in (1, 3, 5):
        for name, more in (("off", {}), ("on", last)):
            quality = 10.0 * scale + bool(more)
            run(tmp_path / f"{name}{scale}", lambda i, q=quality: {"psnr": q + i}, guidance__scale=scale, **more)
    compared = methods(collect([tmp_path]).runs)
    names = {f"last_step={step} guidance.scale={scale}" for scale in (1, 3, 5) for step in ("off", "LastProjection")}
    assert {method.name for method in compared} == names
    assert pairs(compared) == [("guidance.scale", "last_step._target_")]
    assert len(cells(compared, "psnr", *pairs_of(factors(compared))[0])) == 6


def test_settings_of_variants_are_factors(tmp_path: Path) -> None:
    """Text and scale cross within one run; the six variants themselves, which say both, cross with nothing."""
    variants = {
        f"{role}_{scale}": {"prompt": {"_target_": OWN, "role": role}, "guidance": {"scale": scale}}
        for role in ("caption", "counterfactual") for scale in (1, 3, 5)
    }  # fmt: skip
    two_texts(tmp_path / "a", 2, 0.0, **variants)
    compared = methods(collect([tmp_path]).runs)
    assert settings_of(compared[2])["guidance.scale"] == 5
    assert pairs(compared) == [("guidance.scale", "prompt.role")]


def test_what_always_changes_together_is_one_factor(tmp_path: Path) -> None:
    for scale in (1, 3, 5):
        run(tmp_path / f"s{scale}", lambda i: {"psnr": i}, guidance__scale=scale, guidance__name=f"n{scale}")
    compared = methods(collect([tmp_path]).runs)
    assert [factor.name for factor in factors(compared)] == ["guidance.scale"]
    assert list(drawings(compared, "psnr", COLUMNS, 6)) == ["guidance.scale"]  # a curve along the numbers alone


def test_settings_that_never_cross_have_no_interaction(tmp_path: Path) -> None:
    for a, b in ((1, "x"), (2, "x"), (2, "y")):
        run(tmp_path / f"{a}{b}", lambda i: {"psnr": i}, a=a, b=b)
    assert pairs(methods(collect([tmp_path]).runs)) == []


def test_a_third_setting_is_averaged_over(tmp_path: Path) -> None:
    for a in (1, 2, 3):
        for b in ("x", "y"):
            for c in (0, 10):
                run(tmp_path / f"{a}{b}{c}", lambda i, a=a, b=b, c=c: {"psnr": a + (b == "y") + c}, a=a, b=b, c=c)
    compared = methods(collect([tmp_path]).runs)
    assert sorted(pairs(compared)) == [("a", "b"), ("a", "c"), ("b", "c")]
    one, two = pairs_of(factors(compared))[0]
    assert {(cell.x, cell.line): cell.mean for cell in cells(compared, "psnr", one, two)}[2.0, "y"] == pytest.approx(8)


def test_wide_settings_are_drawn_on_a_logarithmic_axis(tmp_path: Path) -> None:
    for lam in (1e-4, 1e-2, 1.0, None):
        run(tmp_path / f"l{lam}", lambda i: {"psnr": i}, solver__lam=lam)
    compared = methods(collect([tmp_path]).runs)
    drawn = figures(compared, [], ["psnr"], COLUMNS)["along_psnr_solver.lam"].in_page()
    axes = [layer["encoding"]["x"] for layer in drawn["layer"]]
    assert all(axis["scale"]["type"] == "log" for axis in axes)
    assert axes[0]["axis"]["values"] == [1e-4, 1e-2, 1.0]  # null is no number


def test_tasks_have_figures_of_their_own(tmp_path: Path) -> None:
    for task in ("sr_x8", "sr_x16"):
        for scale in (1, 3, 5):
            run(tmp_path / f"{task}{scale}", lambda i: {"psnr": i}, task__name=task, guidance__scale=scale)
    compared = methods(collect([tmp_path]).runs)
    assert set(figures(compared, [], ["psnr"], COLUMNS)) == {
        "along_psnr_guidance.scale_sr_x16", "along_psnr_guidance.scale_sr_x8",
    }  # fmt: skip


def test_intervals_are_within_images_where_all_points_have_the_same(tmp_path: Path) -> None:
    """Images differ by 10 dB, settings by 1 dB, and that for all images alike: plain intervals would be 9 dB wide."""
    for k, scale in enumerate((1, 3, 5)):
        run(
            tmp_path / f"s{scale}", lambda i, k=k: {"psnr": 10 * (i % 3) + k + 0.1 * (i * k % 2)}, guidance__scale=scale
        )
    compared = methods(collect([tmp_path]).runs)
    found = cells(compared, "psnr", factors(compared)[0])
    assert [cell.mean for cell in found] == pytest.approx([10, 11.05, 12])
    for cell in found:
        assert cell.low is not None
        assert cell.high is not None
        assert 0 < cell.high - cell.low < 0.15


def test_intervals_are_of_means_where_points_have_other_images(tmp_path: Path) -> None:
    for scale, images in ((1, 12), (3, 9), (5, 12)):
        run(tmp_path / f"s{scale}", lambda i: {"psnr": 10.0 * (i % 3)}, images, guidance__scale=scale)
    compared = methods(collect([tmp_path]).runs)
    for cell in cells(compared, "psnr", factors(compared)[0]):
        assert (cell.high or 0) - (cell.low or 0) > 6
