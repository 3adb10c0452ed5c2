"""Differences between runs: paired by image, and only where both restored the same measurement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.findings.folders import run
from treg_exp.findings.collection import collect
from treg_exp.findings.effects import Effect, effects, p_values
from treg_exp.findings.methods import all_columns, methods, metrics_of
from treg_exp.findings.naming import names, repetitions
from treg_exp.findings.pairing import baseline_of, pairings
from treg_exp.findings.provenance import environments, settings

NOISE = np.random.default_rng(1).normal(size=(3, 40))


def compare(*folders: Path, baseline: str | None = None) -> dict[tuple[str, str], Effect]:
    runs = collect(folders).runs
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
    rng = np.random.default_rng(0)
    found = np.array(p_values(list(rng.normal(size=(200, 15)))))
    assert 0.02 < (found < 0.05).mean() < 0.09  # 200 trials at 5 %: standard error 1.5 %
    few, none = p_values([np.ones(3), np.zeros(5)])
    assert few == pytest.approx(0.25, abs=0.02)  # 2 of 8 signs
    assert none == 1


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
    runs = collect([tmp_path]).runs
    assert sorted(names(repetitions(runs))) == [
        "guidance.scale=1",
        "guidance.scale=1",
        "guidance.scale=3",
        "guidance.scale=3",
    ]
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
    runs = collect([tmp_path, *(tmp_path / name for name in ("one", "two", "two/deep"))]).runs
    table = settings(runs).set_index("setting")
    found = {"plain": "7", "one/treg": "1", "two/treg": "3", "deep/treg": "5"}
    assert table.loc["guidance.scale"].to_dict() == found
    assert set(environments(runs)["run"]) == set(found)


def test_seeds_that_are_called_by_their_folder_are_one_method(tmp_path: Path) -> None:
    """What differs in more settings than a name holds goes by its folder; its seeds are no further methods."""
    for seed in (0, 1):
        for scale in (1, 3):
            run(
                tmp_path / f"x{scale}_{seed}", lambda i, s=seed: {"psnr": i + s}, seed=seed, a=1, b=1, c=1,
                guidance__scale=scale, guidance__other=4 - scale,
            )  # fmt: skip
        run(tmp_path / f"y{seed}", lambda i: {"psnr": i}, seed=seed, a=2, b=3, c=5, d=6)
        run(tmp_path / f"z{seed}", lambda i: {"psnr": i}, seed=seed, a=2, b=4, c=7, d=8)
        run(tmp_path / f"w{seed}", lambda i: {"psnr": i}, seed=seed, a=2, b=4, c=7, d=9)
    found = methods(collect([tmp_path]).runs)
    assert [len(method.runs) for method in found] == [2] * 5
    assert len({method.name for method in found}) == 5
    assert any(method.name.endswith(" z0") for method in found)


def test_the_same_settings_and_seed_again_are_another_method(tmp_path: Path) -> None:
    """Such as before and after a change of the code."""
    for name in ("after", "before"):
        for seed in (0, 1):
            run(tmp_path / f"{name}_{seed}", lambda i, n=name: {"psnr": i + (n == "after")}, seed=seed)
    found = compare(tmp_path)
    assert [(method, effect.mean, len(effect.method.runs)) for (method, _), effect in found.items()] == [
        ("before_0", -1.0, 2)
    ]


def test_numbers_of_all_draws_together(tmp_path: Path) -> None:
    """posterior.csv: one number per image and variant, compared like the others."""
    for scale in (1, 3):
        folder = run(tmp_path / f"s{scale}", lambda i: {"psnr": i}, guidance__scale=scale)
        lines = "".join(f"image_{i:02d},own,2,{0.1 * scale},{20 + scale + i}\n" for i in range(12))
        (folder / "posterior.csv").write_text("sample_id,variant,draws,posterior_std,psnr_of_mean\n" + lines)
    effect = compare(tmp_path)["guidance.scale=3", "psnr_of_mean"]
    assert (effect.mean, effect.n) == (pytest.approx(2), 12)
