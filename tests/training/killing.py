"""A training that dies between two checkpoints."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from treg_exp.training.checkpoint import LastCheckpoint


class Killed(BaseException):
    """Stands for the end of the process."""


def train_and_kill(train: Callable[[], object], saved_at: int, killed_at: int) -> None:
    """Train, with a checkpoint after ``saved_at`` steps, and die without another one after ``killed_at``."""

    def end_of_step(self, trainer, *arguments) -> None:
        if trainer.global_step == saved_at:
            trainer.save_checkpoint(f"{self.dirpath}/last.ckpt")
        if trainer.global_step == killed_at:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LastCheckpoint, "on_train_batch_end", end_of_step)
        with pytest.raises(Killed):
            train()
