"""Signs of life: while a run works, its status is written anew again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from treg_exp.engine.status import HEARTBEAT
from treg_exp.errors import RunFailedError


class Heartbeat:
    """Calls something at regular times, from a thread: a single step of a solver may take long, and loading, too.

    A sign that cannot be written stops nothing; what is wrong with the folder is the business of the run.

    Args:
        beat: the sign.
        seconds: between two of them.
    """

    def __init__(self, beat: Callable[[], None], seconds: float = HEARTBEAT) -> None:
        self.beat, self.seconds = beat, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def _run(self) -> None:
        while not self._over.wait(self.seconds):
            with suppress(OSError, RunFailedError, ValueError):
                self.beat()

    def start(self) -> None:
        """From now on, until the end of the block whose context this object is."""
        self._thread.start()

    def __enter__(self) -> Heartbeat:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
