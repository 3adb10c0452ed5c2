"""The toy objective is a package of the user's own."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREG_EXP_PACKAGES", "tests")


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch):
    """Make the next training save after some steps and die, without saving again, after some more."""
    from treg_exp.training.checkpoint import LastCheckpoint

    def arrange(saved_at: int, killed_at: int) -> type[Killed]:
        def end_of_step(self, trainer, *arguments) -> None:
            if trainer.global_step == saved_at:
                trainer.save_checkpoint(f"{self.dirpath}/last.ckpt")
            if trainer.global_step == killed_at:
                raise Killed

        monkeypatch.setattr(LastCheckpoint, "on_train_batch_end", end_of_step)
        return Killed

    yield arrange
