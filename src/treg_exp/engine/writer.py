"""Stores each batch as soon as it is done: pictures first, then the rows that say so."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from treg_exp.engine.module import Result
from treg_exp.engine.run_folder import RunFolder
from treg_exp.engine.work import Key
from treg_exp.files import save_png
from treg_exp.tasks.problems import InverseProblem


class RunWriter(Callback):
    """Writes results into the run folder, from every process.

    Args:
        folder: the run folder.
        wanted: the work items of the whole run.
        draws: draws per sample and variant (they decide the path).
        rank: number of this process; the first one writes the status.
    """

    def __init__(self, folder: RunFolder, wanted: Collection[Key], draws: int, rank: int) -> None:
        self.folder, self.wanted, self.draws, self.rank = folder, wanted, draws, rank

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Store one batch."""
        results: Sequence[Result] = outputs
        for result in results:
            self._pictures(result)
        self.folder.append("rows", self.rank, [r.row for r in results if r.signal is not None])
        self.folder.append("failures", self.rank, [r.row for r in results if r.signal is None])
        if self.rank == 0:
            self.folder.write_status("running", self.wanted)

    def _pictures(self, result: Result) -> None:
        folder = self.folder.sample(result.item.sample_id)
        if not (folder / "measurement.png").is_file():  # the last of the three: the others are there
            if result.sample.target is not None:
                save_png(result.sample.target, folder / "target.png")
            if result.preview is not None:
                self._measurement(result, result.preview(), folder)
        if result.signal is not None:
            save_png(result.signal, self.folder.reconstruction(result.item.key, self.draws))

    def _measurement(self, result: Result, preview: Tensor, folder: Path) -> None:
        problem = result.problem
        assert isinstance(problem, InverseProblem)
        if problem.operator.linear:
            save_png(preview, folder / "pseudo_inverse.png")
        elif preview.any():  # grey where y is no image
            save_png(preview, folder / "preview.png")
        save_png(picture(problem.y[0], preview), folder / "measurement.png")


def picture(y: Tensor, preview: Tensor) -> Tensor:
    """A measurement as an image, (C, h, w) in [-1, 1]; one that is no image is shown by its preview."""
    return y if y.ndim == 3 and y.shape[0] in (1, 3) and not y.is_complex() else preview
