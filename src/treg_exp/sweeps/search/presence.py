"""Which processes work on a search: each has a folder with a lock and signs of life, as a run has."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from treg_exp.engine.heartbeat import Heartbeat
from treg_exp.engine.status import here, now, read_status, write_status
from treg_exp.run_layout import RunLayout


class Presence:
    """This process among those that work on a search.

    Args:
        folder: of all of them.

    Attributes:
        name: of this process, known to no other one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While this lasts, others see this process; however it ends, they see it no longer."""
        own = self.folder / self.name
        own.mkdir(parents=True)
        values = {"state": "running", **here(), "started": now()}
        try:
            with RunLayout(own).lock.open("a") as lock:
                with suppress(ImportError, OSError):  # the signs of life are left
                    import fcntl

                    fcntl.flock(lock, fcntl.LOCK_EX)
                write_status(own, values)
                with Heartbeat(lambda: write_status(own, values)) as heartbeat:
                    heartbeat.start()
                    yield
        finally:
            shutil.rmtree(own, ignore_errors=True)

    def sees(self, name: str) -> bool:
        """Whether a process is there, this one or another."""
        return name == self.name or (bool(name) and read_status(self.folder / name).state == "running")
