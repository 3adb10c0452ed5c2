"""What a run in several processes computes is what it computes in one, to the last digit."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_app import go
from treg_exp.engine.costs import NOT_REPEATED
from treg_exp.run_layout import RunLayout

RUN = [
    "experiment=single", "metrics=residual", "data.batch_size=1", "solver.steps=2", "trainer.accelerator=cpu",
    "data.limit=5", "draws=1",
]  # fmt: skip


def without_clock(value: Any) -> Any:
    """Figures of a run but the seconds that it took."""
    if isinstance(value, dict):
        return {key: without_clock(child) for key, child in value.items() if key not in NOT_REPEATED}
    return [without_clock(child) for child in value] if isinstance(value, list) else value


def figures(folder: Path) -> tuple[list[dict], Any]:
    """Table and summary, with their order."""
    layout = RunLayout(folder)
    with layout.results.open(encoding="utf-8") as file:
        return without_clock([*csv.DictReader(file)]), without_clock(json.loads(layout.summary.read_text()))


def signals(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in (folder / "samples").rglob("*.png")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("alone") / "r"
    return folder, without_clock(go(folder, *RUN))


@pytest.mark.slow
def test_an_uneven_share_of_the_work(alone: tuple[Path, dict], tmp_path: Path) -> None:
    """Five restorations in three processes."""
    folder, rows = alone
    assert without_clock(go(tmp_path / "r", *RUN, "trainer.devices=3")) == rows
    shares = [len(file.read_text().splitlines()) for file in sorted((tmp_path / "r" / "rows").iterdir())]
    assert shares == [2, 2, 1]
    assert figures(tmp_path / "r") == figures(folder)
    assert signals(tmp_path / "r") == signals(folder)


@pytest.mark.slow
def test_more_processes_than_what_is_left(alone: tuple[Path, dict], tmp_path: Path) -> None:
    """A run of one process, continued with more of them than there is work."""
    folder, rows = alone
    go(tmp_path / "r", *RUN)
    file = tmp_path / "r" / "rows" / "rank-0.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:3]))
    assert without_clock(go(tmp_path / "r", *RUN, "trainer.devices=4")) == rows
    assert sorted(each.name for each in file.parent.iterdir()) == ["rank-0.jsonl", "rank-1.jsonl"]
    assert figures(tmp_path / "r") == figures(folder)
    assert signals(tmp_path / "r") == signals(folder)
