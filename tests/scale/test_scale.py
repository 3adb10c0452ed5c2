"""What grows with the number of samples, and what must not: runs of very many samples that cost next to nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import ROOT
from treg_exp.data.base import subset
from treg_exp.data.folder import ImageFolder
from treg_exp.run_layout import read_rows

HERE = Path(__file__).parent


def measured(count: int, folder: Path) -> dict[str, Any]:
    """Seconds by phase and the peak of the memory of a run in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT / "src"), *sys.path])}
    command = [sys.executable, str(HERE / "measured_run.py"), str(count), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_a_small_run_is_complete_and_is_continued(tmp_path: Path) -> None:
    """What the large ones measure is a run like any other."""
    first = measured(200, tmp_path / "r")
    assert len(read_rows(tmp_path / "r")) == 200
    assert first["count"] == 200
    again = measured(200, tmp_path / "r")
    assert again["restore"] < first["restore"]
    assert len((tmp_path / "r" / "rows" / "rank-0.jsonl").read_bytes().splitlines()) == 200


@pytest.mark.slow
def test_memory_and_writing_of_a_hundred_thousand_restorations(tmp_path: Path) -> None:
    """Measured on two shared cores: 39 MB more than 10,000 take while they are made, 58 at the end; 252 a second."""
    small, large = (measured(count, tmp_path / str(count)) for count in (10_000, 100_000))
    assert large["restore_mb"] - small["restore_mb"] < 80  # names and texts of the samples; no signal and no row
    assert large["all_mb"] - small["all_mb"] < 120  # and the means of 4 million numbers at once
    assert 100_000 / large["restore"] > 40
    assert large["restore"] / small["restore"] < 20  # nothing is quadratic


@pytest.mark.slow
def test_a_folder_of_a_hundred_thousand_files_is_listed_once_and_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = [tmp_path / f"seed_{i}.png" for i in range(10)]
    for seed in seeds:
        Image.new("RGB", (8, 8)).save(seed)
    for number in range(100):
        (folder := tmp_path / "many" / f"{number:03d}").mkdir(parents=True)
        for i in range(1000):
            os.link(seeds[i % 10], folder / f"{i:04d}.png")
    listed, scandir = [0], os.scandir
    opened, open_ = [0], Path.open

    def counted_list(path: Any) -> Any:
        listed[0] += 1
        return scandir(path)

    def counted_open(self: Path, *args: Any, **more: Any) -> Any:
        opened[0] += 1
        return open_(self, *args, **more)

    monkeypatch.setattr(os, "scandir", counted_list)
    monkeypatch.setattr(Path, "open", counted_open)
    start = time.perf_counter()
    data = ImageFolder(tmp_path / "many", 8)
    part = subset(data, limit=100, offset=50_000)
    assert time.perf_counter() - start < 20  # 0.5 s on an idle core
    assert (len(data), part.ids[0], data.left_out) == (100_000, "050__0000", "")
    assert listed == [101]
    assert opened[0] <= 300
