"""Any logger of Lightning (CSV, TensorBoard, one of the user's own) as a copy of a run's numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from treg_exp.engine.means import Means
from treg_exp.engine.mirror import never_fatal
from treg_exp.run_layout import Key, iterate_rows


class LightningMirror(Callback):
    """Configuration, means of batches and, at the end, the means of the run; a ``RunMirror``.

    Args:
        logger: whose files stand where it says.
    """

    def __init__(self, logger: Logger) -> None:
        self.logger, self.service, self.broken = logger, type(logger).__name__, False
        self.started = False
        self.rows = 0

    @never_fatal
    def start(self, run_dir: Path, config: Mapping[str, Any], group: str | None) -> None:
        """See ``RunMirror``. Steps go on where an earlier start of the run has ended."""
        self.rows, self.started = sum(1 for _ in iterate_rows(run_dir)), True
        self.logger.log_hyperparams(dict(config))

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
        """Log the means of all rows as ``mean/<variant>/<column>``."""
        if self.started:
            means = {
                f"mean/{variant}/{name}": value["mean"]
                for variant, entry in summary["variants"].items()
                for name, value in entry["metrics"].items()
            }
            self.logger.log_metrics(means, step=len(rows))

    @never_fatal
    def close(self, exit_code: int) -> None:
        """See ``RunMirror``; twice does nothing."""
        if self.started:
            self.started = False
            self.logger.finalize("failed" if exit_code else "success")
