"""Any logger of Lightning (CSV, TensorBoard, one of the user's own) as a copy of a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from treg_exp.engine import tensorboard_content
from treg_exp.engine.means import Means
from treg_exp.engine.mirror import never_fatal
from treg_exp.engine.told import Told, by_step, code_version, final_means, recorded_samples
from treg_exp.reports.trajectory import read_trajectories
from treg_exp.run_layout import Key, RunLayout, iterate_rows

TOLD = "told.json"  # beside the files of the logger


class LightningMirror(Callback):
    """Configuration, means of batches, and at the end the means of the run and curves of the solver's steps.

    TensorBoard gets the pictures, too. A ``RunMirror``.

    Args:
        logger: whose files stand where it says.
        pictures: TensorBoard shows target, measurement and restorations of so many samples, the first ones.
    """

    def __init__(self, logger: Logger, pictures: int = 8) -> None:
        self.logger, self.service, self.broken = logger, type(logger).__name__, False
        self.pictures, self.started, self.rows = pictures, False, 0
        self.layout = RunLayout(Path())
        self.config: dict[str, Any] = {}

    @never_fatal
    def start(self, run_dir: Path, config: Mapping[str, Any], group: str | None) -> None:
        """See ``RunMirror``. Steps go on where an earlier start of the run has ended."""
        self.layout, self.config = RunLayout(run_dir), {**config, "code": code_version()}
        self.rows, self.started = sum(1 for _ in iterate_rows(run_dir)), True
        self.logger.log_hyperparams(self.config)

    @never_fatal
    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Log the means of this batch, under the name of its variant; the step is the number of restorations."""
        if self.started:
            means = Means(result.row for result in outputs if result.signal is not None)
            self.rows += means.rows
            self.logger.log_metrics(means.values | {"restorations": self.rows}, step=self.rows)

    @never_fatal
    def finish(
        self, rows: Collection[Mapping[str, Any]], summary: Mapping[str, Any], picture: Callable[[Key], Path]
    ) -> None:
        """Log the means of all rows as ``mean/<variant>/<column>``, and ``trajectory/<column>/<variant>/<sample>``.

        The steps of the latter are the solver's.
        """
        if not self.started:
            return
        means = {f"mean/{name}": value for name, value in final_means(summary).items()}
        board = isinstance(self.logger, TensorBoardLogger)
        if not board:  # which gets them beside the configuration
            self.logger.log_metrics(means, step=len(rows))
        place = self.logger.log_dir
        told = Told(Path(place) / TOLD if place else None)
        new = told.new(read_trajectories(self.layout.path, rows, recorded_samples(self.config)))
        for step, values in by_step(new):
            self.logger.log_metrics(values, step=step)
        if board:
            tensorboard_content.write(self.logger, self.layout, rows, self.config, means, self.pictures)
        if new:
            self.logger.save()
            told.add(name for name, _ in new)

    @never_fatal
    def close(self, exit_code: int) -> None:
        """See ``RunMirror``; twice does nothing."""
        if self.started:
            self.started = False
            self.logger.finalize("failed" if exit_code else "success")
