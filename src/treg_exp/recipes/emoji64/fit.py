"""Run one stage with Lightning so that it can be killed at any moment and continued by the same command."""

from __future__ import annotations

import csv
import os
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch

from treg_exp.priors.precision import has_fast_bf16
from treg_exp.recipes.emoji64.stage import TrainingStage
from treg_exp.reports.rows import write_table


def fit_stage(module: TrainingStage) -> None:
    """Train a stage to the end of its budget, continuing from its checkpoint where there is one.

    Args:
        module: the stage; holds its best weights, `module.average`, afterwards.
    """
    settings = module.settings
    settings.folder.mkdir(parents=True, exist_ok=True)
    last = checkpoint_file(settings.folder)
    trainer = L.Trainer(
        max_epochs=-1,
        max_steps=settings.steps if settings.steps is not None else -1,
        accelerator=settings.device if settings.device != "cuda" else "gpu",
        devices=1,
        precision="bf16-mixed" if uses_bf16(settings.precision, settings.device) else "32-true",
        val_check_interval=settings.validate_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=[_Keeper(last, settings.checkpoint_seconds), _Table(settings.folder / "metrics.csv")],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        # The loader hands out nothing, so workers for it and a known length would be of no use.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        trainer.fit(module, ckpt_path=str(last) if last.is_file() else None, weights_only=True)


def load_stage(module: TrainingStage) -> TrainingStage:
    """Load a stage's checkpoint without training.

    Args:
        module: a freshly built stage.

    Returns:
        The same module with its trained weights.

    Raises:
        FileNotFoundError: the stage has no checkpoint yet.
    """
    file = checkpoint_file(module.settings.folder)
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist: train this stage first")
    state = torch.load(file, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    return module


def checkpoint_file(folder: Path) -> Path:
    """Where a stage keeps its only checkpoint."""
    return folder / "last.ckpt"


def uses_bf16(precision: str, device: str) -> bool:
    """Whether autocast to bfloat16 is to be used.

    Without hardware support it is ten times slower than float32 on a CPU, so `auto` asks first.

    Args:
        precision: ``auto``, ``fp32`` or ``bf16``.
        device: ``auto``, ``cpu`` or ``cuda``.
    """
    if precision != "auto":
        return precision == "bf16"
    return has_fast_bf16(torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"))


def metric_rows(file: Path) -> list[dict[str, str]]:
    """The figures of a stage, oldest first; empty where there are none.

    Args:
        file: a stage's ``metrics.csv``.
    """
    if not file.is_file():
        return []
    with file.open(newline="") as handle:
        return list(csv.DictReader(handle))


class _Keeper(L.Callback):
    """Writes the checkpoint every so often and at the end, each time to a temporary name first."""

    def __init__(self, file: Path, every_s: float) -> None:
        self._file = file
        self._every_s = every_s
        self._next = time.monotonic() + every_s

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:  # a finished stage keeps the settings that it was trained with
            pl_module.settings.keep()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if time.monotonic() >= self._next:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        partial = self._file.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        os.replace(partial, self._file)
        self._next = time.monotonic() + self._every_s


class _Table(L.Callback):
    """Puts one row of figures per validation into a CSV file and prints it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        values = {name: round(float(value), 6) for name, value in sorted(trainer.callback_metrics.items())}
        row = {"step": trainer.global_step, "minutes": round(pl_module.elapsed_s / 60.0, 2), **values}
        # Rows of steps that a kill undid are replaced by those of the steps that were made again.
        earlier = [other for other in metric_rows(self._file) if int(other["step"]) < trainer.global_step]
        columns = tuple(dict.fromkeys(name for each in (*earlier, row) for name in each))
        write_table([*earlier, row], columns, self._file)
        print("  ".join(f"{name} {value:g}" for name, value in row.items()), flush=True)
