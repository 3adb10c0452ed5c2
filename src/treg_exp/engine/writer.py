"""Stores each batch as soon as it is done: signals first, then the rows that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from treg_exp.engine.module import Result
from treg_exp.engine.run_folder import RunFolder
from treg_exp.files import write_bytes
from treg_exp.run_layout import (
    LATENTS,
    MEASUREMENT,
    PREVIEW,
    PSEUDO_INVERSE,
    RECONSTRUCTION,
    TARGET,
    picture,
)
from treg_exp.signals.base import Medium, save_picture
from treg_exp.signals.plots import plot
from treg_exp.tasks.problems import InverseProblem


class RunWriter(Callback):
    """Writes results into the run folder, from every process.

    Args:
        folder: the run folder.
        draws: draws per sample and variant (they decide the path).
        medium: keeps and shows the signals.
        rank: number of this process.
    """

    def __init__(self, folder: RunFolder, draws: int, medium: Medium, rank: int = 0) -> None:
        self.folder, self.draws, self.medium, self.rank = folder, draws, medium, rank

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Store one batch."""
        results: Sequence[Result] = outputs
        self.folder.require()
        for result in results:
            self._sample(result)
            self._restoration(result)
        rows, failures = ([r.row for r in results if (r.signal is None) == failed] for failed in (False, True))
        self.folder.append(self.rank, rows, failures)

    def _sample(self, result: Result) -> None:
        """What all restorations of a sample have in common, once."""
        folder = self.folder.layout.sample(result.item.sample_id)
        if result.sample.target is not None and not picture(folder, TARGET).is_file():
            self.medium.save(result.sample.target, folder / TARGET)
        if result.preview is not None and not picture(folder, MEASUREMENT).is_file():  # the last that is written
            self._measurement(result.problem(), result.preview(), folder)

    def _measurement(self, problem: Any, preview: Tensor, folder: Path) -> None:
        assert isinstance(problem, InverseProblem)
        if problem.operator.linear:
            self.medium.save(preview, folder / PSEUDO_INVERSE)
        elif preview.any():  # zero where y is no signal
            self.medium.save(preview, folder / PREVIEW)
        y = problem.y[0]
        if not self.medium.holds(y.shape) or y.is_complex() or not problem.operator.pictured:  # it is no signal
            save_picture(plot(y), folder / MEASUREMENT)
        elif self.medium.keeps(y.shape, preview.shape):
            self.medium.save(y, folder / MEASUREMENT)
        else:
            save_picture(self.medium.picture(y), folder / MEASUREMENT)

    def _restoration(self, result: Result) -> None:
        if result.signal is None:
            return
        folder = self.folder.layout.restoration(result.item.key, self.draws)
        if result.latents:
            write_bytes(folder / LATENTS, latents_file(result.latents))
        self.medium.save(result.signal.clamp(-1, 1), folder / RECONSTRUCTION)  # as metrics judge it


def latents_file(latents: Mapping[str, Tensor]) -> bytes:
    """Tensors by name as the content of a safetensors file."""
    from safetensors.torch import save

    content: bytes = save({name: latent.contiguous() for name, latent in latents.items()})
    return content
