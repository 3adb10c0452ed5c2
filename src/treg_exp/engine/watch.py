"""What may end a run in the middle, as a Lightning callback: SIGTERM, and another process that is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

from lightning.pytorch.callbacks import Callback


class Watch(Callback):
    """Keeps this program's answer to SIGTERM, and looks after the other processes before every batch.

    Lightning's answer to SIGTERM takes a note that its predict loop never reads.

    Args:
        check: raises where another process is lost.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self.check, self.handler = check, signal.getsignal(signal.SIGTERM)

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Lightning has just set its own handler; it takes that back when it ends."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)

    def on_predict_batch_start(self, *hook: Any) -> None:
        """The solver's steps look, too, but not every solver has them."""
        self.check()
