"""A progress bar that counts solver steps: a batch may take minutes, and an ETA should not wait for it."""

from __future__ import annotations

import sys
from typing import Any

from lightning.pytorch.callbacks import Callback

from treg_exp.solvers.base import StepInfo


class StepProgress(Callback):
    """One bar on the first process, over all steps of its batches.

    Args:
        steps: steps per batch; solvers without steps count batches.
        batches: batches of this process.
        shown: False counts without a bar.
    """

    def __init__(self, steps: int, batches: int, shown: bool = True) -> None:
        self.steps, self.batches, self.shown, self.done = max(steps, 1), batches, shown, 0
        self.bar: Any = None

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the bar."""
        if self.shown:
            from tqdm import tqdm

            self.bar = tqdm(
                total=self.steps * self.batches, desc="restoring", unit="step", file=sys.stderr,
                dynamic_ncols=True, mininterval=0.5 if sys.stderr.isatty() else 10,
            )  # fmt: skip

    def on_step(self, info: StepInfo) -> None:
        """One solver step was taken; a batch in parts, for want of memory, takes its steps once for each of them."""
        if self.bar is not None and self.bar.n < self.steps * (self.done + 1):
            self.bar.update()

    def on_predict_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """The batch counts as a whole, however its steps were taken."""
        self.done += 1
        if self.bar is not None:
            self.bar.update(self.steps * self.done - self.bar.n)

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave the bar where it stopped."""
        if self.bar is not None:
            self.bar.close()
