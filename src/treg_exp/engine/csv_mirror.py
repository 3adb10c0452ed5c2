"""A run's numbers as plain tables that any program opens."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

from treg_exp.engine.means import Means
from treg_exp.engine.mirror import never_fatal
from treg_exp.engine.told import final_means, recorded_samples
from treg_exp.reports.rows import write_table
from treg_exp.reports.trajectory import POINT, read_trajectories
from treg_exp.run_layout import Key, iterate_rows

METRICS, TRAJECTORIES, SUMMARY = "metrics.csv", "trajectories.csv", "summary.csv"


class CsvMirror(Callback):
    """Three tables below the run folder: means of batches, the recorded steps, and the means of the run.

    They have the numbers that W&B and TensorBoard get; configuration and pictures stand in the run folder anyway. A
    continued run goes on in them, and no line comes twice.

    Args:
        folder: name of their folder within that of the run.
    """

    def __init__(self, folder: str = "csv") -> None:
        self.folder, self.service, self.broken = folder, "logger=csv", False
        self.run_dir, self.path = Path(), Path()
        self.rows, self.recorded = 0, 0
        self.columns: list[str] = []
        self.started = False

    @never_fatal
    def start(self, run_dir: Path, config: Mapping[str, Any], group: str | None) -> None:
        """See ``RunMirror``. Lines of restorations that are to be made again, and a torn last one, are taken out."""
        self.run_dir, self.path = run_dir, run_dir / self.folder
        self.rows, self.recorded = sum(1 for _ in iterate_rows(run_dir)), recorded_samples(config)
        kept = [line for line in _lines(self.path / METRICS) if int(line["restorations"]) <= self.rows]
        self._write_metrics(kept)
        self.started = True

    @never_fatal
    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """One line: the number of restorations of this process so far, and the means of this batch."""
        if not self.started:
            return
        means = Means(result.row for result in outputs if result.signal is not None)
        self.rows += means.rows
        line = {"restorations": str(self.rows), **{name: repr(value) for name, value in means.values.items()}}
        if set(line) <= set(self.columns):
            with (self.path / METRICS).open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self.columns, lineterminator="\n").writerow(line)
        else:  # another variant has further columns
            self._write_metrics([*_lines(self.path / METRICS), line])

    @never_fatal
    def finish(
        self, rows: Collection[Mapping[str, Any]], summary: Mapping[str, Any], picture: Callable[[Key], Path]
    ) -> None:
        """Write the other two tables, from what the run folder holds."""
        if not self.started:
            return
        points = [
            {"sample_id": sample, "variant": variant, **point}
            for (sample, variant, _), trajectory in read_trajectories(self.run_dir, rows, self.recorded)
            for point in trajectory.points
        ]
        if points:
            write_table(points, ("sample_id", "variant", *POINT), self.path / TRAJECTORIES)
        means = [{"name": name, "mean": value} for name, value in final_means(summary).items()]
        write_table(means, ("name", "mean"), self.path / SUMMARY)

    def close(self, exit_code: int) -> None:
        """See ``RunMirror``: every line is written already."""
        self.started = False

    def _write_metrics(self, lines: list[dict[str, str]]) -> None:
        self.columns = list(dict.fromkeys(["restorations", *(name for line in lines for name in line)]))
        write_table(lines, self.columns, self.path / METRICS)


def _lines(file: Path) -> list[dict[str, str]]:
    """The whole lines of a table."""
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        text = stream.read()
    whole = text[: text.rfind("\n") + 1]
    found = csv.DictReader(io.StringIO(whole, newline=""))
    return [
        {name: cell for name, cell in line.items() if cell} for line in found if str(line["restorations"]).isdigit()
    ]
