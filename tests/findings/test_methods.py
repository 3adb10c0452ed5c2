"""Differences between runs: paired by image, and only where both restored the same measurement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.findings.folders import run
from treg_exp.findings.collection import collect, names
from treg_exp.findings.effects import Effect, effects
from treg_exp.findings.methods import all_columns, methods, metrics_of
from treg_exp.findings.pairing import baseline_of, pairings
from treg_exp.findings.tables import environments, settings

NOISE = np.random.default_rng(1).normal(size=(3, 40))


def compare(*folders: Path, baseline: str | None = None) -> dict[tuple[str, str], Effect]:
    runs = collect(folders)
    compared, columns = methods(runs), all_columns(runs)
    found = effects(pairings(compared, baseline_of(compared, baseline)), metrics_of(compared, columns), columns)
    return {(effect.method.name, effect.metric): effect for effect in found}


def test_an_effect_is_found_and_none_is_not(tmp_path: Path) -> None:
    run(tmp_path / "a", lambda i: {"psnr": 20 + 5 * NOISE[0, i], "lpips": 0.3 + NOISE[1, i]}, 40)
    run(
        tmp_path / "b", lambda i: {"psnr": 21 + 5 * NOISE[0, i] + 0.5 * NOISE[2, i], "lpips": 0.3 + NOISE[2, i]}, 40,
        guidance__scale=3,
    )  # fmt: skip
    found = compare(tmp_path)
    better, nothing = found["guidance.scale=3", "psnr"], found["guidance.scale=3", "lpips"]
    assert better.mean == pytest.approx(1 + 0.5 * NOISE[2].mean())
    assert better.low is not None
    assert better.high is not None
    assert 0.7 < better.low < better.mean < better.high < 1.3  # of the images it would be 5 / sqrt(40)
    assert better.n == 40
    assert better.wins == (1 + 0.5 * NOISE[2] > 0).mean()
    assert better.p == pytest.approx(1 / 10_001)
    assert nothing.p > 0.05
    assert better.q == pytest.approx(2 * better.p)
    assert nothing.q == pytest.approx(nothing.p)


def test_p_is_right_where_nothing_differs() -> None:
    from treg_exp.findings.effects import _p

    rng = np.random.default_rng(0)
    found = np.array([_p(rng.normal(size=15)) for _ in range(200)])
    assert 0.02 < (found < 0.05).mean() < 0.09  # 200 trials at 5 %: standard error 1.5 %
    assert _p(np.ones(3)) == pytest.approx(0.25, abs=0.02)  # 2 of 8 signs
    assert _p(np.zeros(5)) == 1


def test_other_measurements_are_not_compared(tmp_path: Path) -> None:
    run(tmp_path / "a", lambda i: {"psnr": i})
    run(tmp_path / "b", lambda i: {"psnr": i + 1.0}, measured="other", guidance__scale=3)
    run(tmp_path / "c", lambda i: {"psnr": i + 1.0}, images=5, guidance__scale=5)
    found = compare(tmp_path)
    assert set(found) == {("guidance.scale=5", "psnr")}
    assert found["guidance.scale=5", "psnr"].n == 5


def test_seeds_are_repetitions_within_an_image(tmp_path: Path) -> None:
    """They narrow nothing: images, not restorations, are what is drawn at random."""
    for seed in (0, 1):
        run(tmp_path / f"a{seed}", lambda i, s=seed: {"psnr": NOISE[0, i] + s}, seed=seed)
        run(tmp_path / f"b{seed}", lambda i, s=seed: {"psnr": NOISE[0, i] + s + 1}, seed=seed, guidance__scale=3)
    found = compare(tmp_path)
    assert set(found) == {("guidance.scale=3", "psnr")}
    effect = found["guidance.scale=3", "psnr"]
    assert (effect.n, len(effect.method.runs)) == (12, 2)
    assert effect.mean == pytest.approx(1)


def test_tasks_are_apart_and_named_by_what_differs_in_them(tmp_path: Path) -> None:
    for task in ("sr_x8", "sr_x16"):
        for scale in (1, 3):
            run(
                tmp_path / f"{task}{scale}", lambda i: {"psnr": i}, task__name=task, task__factor=int(task[4:]),
                guidance__scale=scale, guidance__twice=2 * scale,
            )  # fmt: skip
    runs = collect([tmp_path])
    assert sorted(names(runs)) == ["guidance.scale=1", "guidance.scale=1", "guidance.scale=3", "guidance.scale=3"]
    compared = methods(runs)
    found = effects(pairings(compared, baseline_of(compared, "scale=3")), ["psnr"], all_columns(runs))
    assert [(e.method.task, e.method.name, e.baseline.name) for e in found] == [
        ("sr_x16", "guidance.scale=1", "guidance.scale=3"), ("sr_x8", "guidance.scale=1", "guidance.scale=3"),
    ]  # fmt: skip


def test_costs_are_no_effects(tmp_path: Path) -> None:
    run(tmp_path / "a", lambda i: {"psnr": i, "seconds": 1.0})
    run(tmp_path / "b", lambda i: {"psnr": i, "seconds": 2.0}, guidance__scale=3)
    assert {metric for _, metric in compare(tmp_path)} == {"psnr"}


def test_folders_of_the_same_name(tmp_path: Path) -> None:
    for parent, scale in (("one", 1), ("two", 3), ("two/deep", 5)):
        run(tmp_path / parent / "treg", lambda i: {"psnr": i}, guidance__scale=scale)
    run(tmp_path / "plain", lambda i: {"psnr": i}, guidance__scale=7)
    compared = methods(collect([tmp_path, *(tmp_path / name for name in ("one", "two", "two/deep"))]))
    table = settings(compared).set_index("setting")
    found = {"plain": "7", "one/treg": "1", "two/treg": "3", "deep/treg": "5"}
    assert table.loc["guidance.scale"].to_dict() == found
    assert set(environments(compared)["run"]) == set(found)
