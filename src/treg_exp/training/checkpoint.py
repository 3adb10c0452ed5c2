"""One checkpoint that is always whole, however the process ends."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from treg_exp.errors import FieldError


class LastCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, set up to keep one file: ``last.ckpt`` every so often and at the end.

    Lightning's own writes at the end only if it has never written before, and then too late: by that time
    `WeightAveraging` has put the average in the place of the weights that a continuation needs.

    Args:
        dirpath: folder of the training.
        seconds: how much work a kill may cost.
    """

    def __init__(self, dirpath: str, seconds: float = 120.0) -> None:
        if not seconds >= 0:
            raise FieldError("seconds", seconds, "must be >= 0")
        super().__init__(
            dirpath, save_last=True, save_top_k=0, enable_version_counter=False,
            train_time_interval=timedelta(seconds=seconds),
        )  # fmt: skip

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The only epoch ends with the training."""
        assert self.dirpath is not None
        trainer.save_checkpoint(Path(self.dirpath) / f"{self.CHECKPOINT_NAME_LAST}{self.FILE_EXTENSION}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing is left to be written."""


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it.

    Lightning's own writes into the system's folder for temporary files and moves it from there; onto another file
    system that is a copy, and a process that is killed during it leaves half a checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """See ``CheckpointIO``."""
        partial = Path(path).with_suffix(".partial")
        super().save_checkpoint(checkpoint, partial, storage_options)
        os.replace(partial, path)
