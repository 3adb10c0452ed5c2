"""Stores each batch as soon as it is done: signals first, then the rows that say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from treg_exp.engine.module import Result
from treg_exp.engine.run_folder import RunFolder
from treg_exp.files import write_bytes, write_json
from treg_exp.run_layout import (
    LATENTS,
    MEASUREMENT,
    PREVIEW,
    PSEUDO_INVERSE,
    RECONSTRUCTION,
    TARGET,
    TRAJECTORY,
    picture,
)
from treg_exp.signals.base import Medium, save_picture
from treg_exp.signals.plots import plot
from treg_exp.tasks.problems import InverseProblem

Job = Callable[[], object]
WRITERS = 8  # threads; 4 to 16 do the same


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
        """Store one batch: what it made, then the measurements, then the rows, each on the disk before the next."""
        results: Sequence[Result] = outputs
        self.folder.require()
        first: list[Job] = []
        last: list[Job] = []
        for result in {r.item.sample_id: r for r in reversed(results)}.values():  # of several draws one
            self._sample(result, first, last)
        for result in results:
            self._restoration(result, first)
        at_once(first)
        at_once(last)
        rows, failures = ([r.row for r in results if (r.signal is None) == failed] for failed in (False, True))
        self.folder.append(self.rank, rows, failures)

    def _sample(self, result: Result, first: list[Job], last: list[Job]) -> None:
        """What all restorations of a sample have in common, once; the measurement says that the rest is there."""
        folder = self.folder.layout.sample(result.item.sample_id)
        if result.sample.target is not None and not picture(folder, TARGET).is_file():
            first.append(partial(self.medium.save, result.sample.target, folder / TARGET))
        if result.preview is not None and not picture(folder, MEASUREMENT).is_file():
            self._measurement(result.problem(), result.preview(), folder, first, last)

    def _measurement(self, problem: Any, preview: Tensor, folder: Path, first: list[Job], last: list[Job]) -> None:
        assert isinstance(problem, InverseProblem)
        if problem.operator.linear:
            first.append(partial(self.medium.save, preview, folder / PSEUDO_INVERSE))
        elif preview.any():  # zero where y is no signal
            first.append(partial(self.medium.save, preview, folder / PREVIEW))
        y, stem = problem.y[0], folder / MEASUREMENT
        if not self.medium.holds(y.shape) or y.is_complex() or not problem.operator.pictured:  # it is no signal
            last.append(lambda: save_picture(plot(y), stem))
        elif self.medium.keeps(y.shape, preview.shape):
            last.append(partial(self.medium.save, y, stem))
        else:
            last.append(lambda: save_picture(self.medium.picture(y), stem))

    def _restoration(self, result: Result, first: list[Job]) -> None:
        if result.signal is None:
            return
        folder = self.folder.layout.restoration(result.item.key, self.draws)
        if result.latents:
            first.append(lambda: write_bytes(folder / LATENTS, latents_file(result.latents)))
        if result.trajectory is not None:
            first.append(partial(write_json, folder / TRAJECTORY, result.trajectory.as_json()))
        first.append(partial(self.medium.save, result.signal.clamp(-1, 1), folder / RECONSTRUCTION))  # as metrics judge


def at_once(jobs: Sequence[Job]) -> None:
    """Do jobs that write files in some threads, and wait for all.

    A job mostly waits for the disk, which has each file before it has its name: one that is asked about several files
    at once does that in a fifth of the time (measured: 4.6 and 0.8 ms a file).

    Raises:
        WriteError: of the first job that fails; the others are finished.
    """
    if len(jobs) < 2:
        for job in jobs:
            job()
        return
    with ThreadPoolExecutor(min(WRITERS, len(jobs))) as pool:
        for _ in pool.map(lambda job: job(), jobs):
            pass


def latents_file(latents: Mapping[str, Tensor]) -> bytes:
    """Tensors by name as the content of a safetensors file."""
    from safetensors.torch import save

    content: bytes = save({name: latent.contiguous() for name, latent in latents.items()})
    return content
