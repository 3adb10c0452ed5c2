"""Baselines, and the images that may be compared with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.findings.folders import run
from treg_exp.errors import ConfigError
from treg_exp.findings.collection import collect
from treg_exp.findings.methods import Method, methods
from treg_exp.findings.pairing import baseline_of, pairing_notes, pairings


def scales(folder: Path, *values: int, task: str = "sr_x8") -> None:
    for value in values:
        run(folder / f"{task}_{value}", lambda i: {"psnr": i}, guidance__scale=value, task__name=task)


def compared(folder: Path) -> list[Method]:
    return methods(collect([folder]).runs)


def notes(folder: Path, baseline: str | None = None) -> list[str]:
    found = compared(folder)
    baselines = baseline_of(found, baseline)
    return pairing_notes(found, baselines, pairings(found, baselines))


def forget(folder: Path, images: int) -> None:
    """Take the hashes from the first rows."""
    file = folder / "rows" / "rank-0.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows[:images]:
        del row["measurement"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_an_exact_name_wins_and_a_part_must_be_of_one(tmp_path: Path) -> None:
    scales(tmp_path, 10, 1, 3)
    found = compared(tmp_path)
    assert found[0].name == "guidance.scale=1"
    for wanted, name in (
        (None, "guidance.scale=1"),
        ("guidance.scale=1", "guidance.scale=1"),
        ("=3", "guidance.scale=3"),
    ):
        assert baseline_of(found, wanted)["sr_x8"].name == name
    with pytest.raises(ConfigError, match=r"^--baseline scale=1: say which one: guidance.scale=1, guidance.scale=10$"):
        baseline_of(found, "scale=1")
    with pytest.raises(ConfigError, match=r"^--baseline 7: no such method; there are guidance.scale=1, guidance"):
        baseline_of(found, "7")


def test_a_folder_without_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run and no sweep"):
        collect([tmp_path / "rows"])


def test_a_task_without_the_baseline_is_told(tmp_path: Path) -> None:
    """An exact name of one task is not taken for a part of a name in another."""
    scales(tmp_path, 1, 3)
    scales(tmp_path, 3, 10, task="sr_x16")
    found = compared(tmp_path)
    baselines = baseline_of(found, "guidance.scale=1")
    assert set(baselines) == {"sr_x8"}
    assert [pair.method.name for pair in pairings(found, baselines)] == ["guidance.scale=3"]
    assert notes(tmp_path, "guidance.scale=1") == ["sr_x16 has no such baseline: its methods are not compared."]
    assert notes(tmp_path) == []


def test_images_without_a_hash_are_left_out(tmp_path: Path) -> None:
    scales(tmp_path, 1, 3)
    forget(tmp_path / "sr_x8_3", 5)
    forget(tmp_path / "sr_x8_1", 2)
    found = compared(tmp_path)
    (pair,) = pairings(found, baseline_of(found, None))
    assert pair.images == [f"image_{i:02d}" for i in range(5, 12)]
    assert (pair.unknown, pair.other, pair.measured) == (5, 0, True)
    told = "sr_x8: images without a hash of their measurement are not compared: 5 of guidance.scale=3."
    assert notes(tmp_path) == [told]


def test_one_side_without_any_hash_compares_nothing(tmp_path: Path) -> None:
    scales(tmp_path, 1, 3)
    forget(tmp_path / "sr_x8_3", 12)
    found = compared(tmp_path)
    (pair,) = pairings(found, baseline_of(found, None))
    assert (list(pair.images), pair.unknown) == ([], 12)


def test_where_nothing_was_measured_images_are_paired_by_name(tmp_path: Path) -> None:
    scales(tmp_path, 1, 3)
    for value in (1, 3):
        forget(tmp_path / f"sr_x8_{value}", 12)
    found = compared(tmp_path)
    (pair,) = pairings(found, baseline_of(found, None))
    assert (len(pair.images), pair.unknown, pair.measured) == (12, 0, False)
    (note,) = notes(tmp_path)
    assert note.startswith("sr_x8: no row has a hash of its measurement, so images are paired by name alone")
    assert note.endswith(": guidance.scale=3.")


def test_other_measurements_are_told(tmp_path: Path) -> None:
    scales(tmp_path, 1)
    run(tmp_path / "z", lambda i: {"psnr": i}, measured="other", guidance__scale=3)
    assert notes(tmp_path) == ["sr_x8: images with another measurement are not compared: 12 of guidance.scale=3."]
