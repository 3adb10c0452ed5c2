"""``logger=csv``: the tables of real runs, also of one that is cut off and continued."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.engine.test_wandb_mirror import offline
from tests.test_config import TINY, composed
from treg_exp.app import run
from treg_exp.engine.csv_mirror import CsvMirror
from treg_exp.engine.told import spread_rows
from treg_exp.engine.writer import RunWriter
from treg_exp.files import append_json_line
from treg_exp.reports.trajectory import read_trajectories
from treg_exp.run_layout import RunLayout, of_process, read_rows

PSNR = "+metrics.psnr._target_=treg_exp.metrics.fidelity.PSNR"
SHORT = ["solver.steps=3", "data.limit=3", "data.batch_size=1", "metrics=residual", PSNR]


def go(folder: Path, *overrides: str) -> None:
    run(composed(*TINY, *SHORT, f"run_dir={folder}", *overrides))


def interrupted_and_continued(folder: Path, *overrides: str) -> None:
    """A run that is stopped after its second batch, and what is left of it."""
    kept, written = RunWriter.on_predict_batch_end, []

    def stops(self, *arguments, **more):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(1)
        kept(self, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunWriter, "on_predict_batch_end", stops)
        with pytest.raises(KeyboardInterrupt):
            go(folder, *overrides)
    assert len(read_rows(folder)) == 2
    go(folder, *overrides)


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "csv" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_of_a_continued_run(tmp_path: Path) -> None:
    interrupted_and_continued(tmp_path, "logger=csv")
    rows = read_rows(tmp_path)
    lines = table(tmp_path, "metrics.csv")
    assert [line["restorations"] for line in lines] == ["1", "2", "3"]
    assert [float(line["own/psnr"]) for line in lines] == [row["psnr"] for row in rows]
    summary = json.loads((tmp_path / "summary.json").read_text())["variants"]["own"]["metrics"]
    means = {line["name"]: float(line["mean"]) for line in table(tmp_path, "summary.csv")}
    assert means["own/psnr"] == summary["psnr"]["mean"]
    points = table(tmp_path, "trajectories.csv")
    for (sample, _, _), trajectory in read_trajectories(tmp_path, rows):
        own = [float(point["residual"]) for point in points if point["sample_id"] == sample]
        assert own == trajectory.curve("residual")[1]
    assert len(points) == 6


def test_several_loggers_at_once(tmp_path: Path) -> None:
    go(tmp_path, "logger=[csv,wandb]", "data.limit=1")
    assert len(table(tmp_path, "metrics.csv")) == 1
    (run_of_wandb,) = offline(tmp_path)
    assert run_of_wandb["summary"]["restorations"] == 1


def shown(mirror: CsvMirror, folder: Path, *rows: dict) -> None:
    for row in rows:
        append_json_line(of_process(RunLayout(folder).rows, 0), {"sample_id": f"s{row['psnr']}", "draw": 0, **row})
    mirror.on_predict_batch_end(None, None, [SimpleNamespace(row=row, signal=0) for row in rows], None, 0)


def test_new_columns_a_torn_line_and_rows_that_are_gone(tmp_path: Path) -> None:
    first, second = CsvMirror(), CsvMirror()
    first.start(tmp_path, {}, None)
    shown(first, tmp_path, {"variant": "own", "psnr": 1.0})
    shown(first, tmp_path, {"variant": "no_text", "psnr": 2.0})
    shown(first, tmp_path, {"variant": "own", "psnr": 3.0})
    file = tmp_path / "csv" / "metrics.csv"
    assert file.read_text() == "restorations,own/psnr,no_text/psnr\n1,1.0,\n2,,2.0\n3,3.0,\n"
    rows = of_process(RunLayout(tmp_path).rows, 0)
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:2]))  # the third is made again
    with file.open("a") as torn:
        torn.write("4,4.")
    second.start(tmp_path, {}, None)
    shown(second, tmp_path, {"variant": "own", "psnr": 3.5})
    assert file.read_text() == "restorations,own/psnr,no_text/psnr\n1,1.0,\n2,,2.0\n3,3.5,\n"
    assert not first.broken
    assert not second.broken


def test_rows_that_stand_for_a_long_run() -> None:
    """All rows of samples from its beginning to its end, and never more than was asked for."""
    rows = [{"sample_id": f"s{i // 3}", "variant": str(i % 3)} for i in range(300)]
    assert spread_rows(rows, 300) == rows
    found = spread_rows(rows, 12)
    assert [row["sample_id"] for row in found] == [f"s{i}" for i in (0, 25, 50, 75) for _ in range(3)]
    assert len(spread_rows(rows, 10)) == 9
    assert spread_rows(rows, 2) == rows[:2]
