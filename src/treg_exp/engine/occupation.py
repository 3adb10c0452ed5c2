"""Who works in a run folder: one process at a time, and it says so."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from treg_exp.engine.environment import read_noted
from treg_exp.engine.heartbeat import Heartbeat
from treg_exp.engine.outcome import is_job
from treg_exp.engine.status import here, is_alive, now, write_status
from treg_exp.errors import ConfigError, RunBusyError
from treg_exp.run_layout import RunLayout

PATIENCE = (0.02, 0.05, 0.1, 0.0)  # s between tries to get a lock


class FolderLock:
    """Keeps others out of a run folder until ``release`` or the end of this process, however it ends.

    Two processes with the same command would do everything twice and write the same files.

    Attributes:
        layout: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.layout = RunLayout(path)
        self._file: IO[str] | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process may write there."""
        return self._file is not None

    @property
    def is_lost(self) -> bool:
        """Whether the folder was deleted since, and may be that of another process by now."""
        if self._file is None:
            return False
        mine = os.fstat(self._file.fileno())
        try:
            there = self.layout.lock.stat()
        except OSError:
            return True
        return (mine.st_ino, mine.st_dev) != (there.st_ino, there.st_dev)

    def acquire(self) -> None:
        """Make the folder and take it.

        Raises:
            RunBusyError: another process writes there.
            OSError: the folder cannot be written.
        """
        self.layout.path.mkdir(parents=True, exist_ok=True)
        self._file = self.layout.lock.open("a+")
        if not self._locked():
            self.release()
            raise self._busy("another process")
        status = read_noted(self.layout.status)  # a lock may not reach other machines
        mine = here()
        elsewhere = status.get("host") != mine["host"] and status.get("slurm_job", "") != mine.get("slurm_job")
        if status.get("state") == "running" and elsewhere and is_alive(self.layout.path, status):
            self.release()
            raise self._busy(f"{status.get('host')}, process {status.get('pid')}")

    def _locked(self) -> bool:
        """Whether the lock is ours now; also where this system or file system has none, and the run goes on without."""
        assert self._file is not None
        for wait in PATIENCE:
            try:
                import fcntl

                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # perhaps by somebody who only looks whether it is held
                time.sleep(wait)
            except (ImportError, OSError):
                return True
            else:
                return True
        return False

    def release(self) -> None:
        """Let others write there."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _busy(self, whom: str) -> RunBusyError:
        path = self.layout.path
        return RunBusyError(f"run_dir={path} is being written by {whom}; wait for it, or choose another run_dir")


@contextmanager
def occupied(path: Path) -> Iterator[None]:
    """Work in a folder that has no rows to count: others are kept out, and of a sweep's job the status says so.

    Raises:
        RunBusyError: another process works there.
        ConfigError: nobody may write there.
    """
    lock, start, began = FolderLock(path), {**here(), "started": now()}, time.monotonic()
    try:
        lock.acquire()
    except OSError as error:
        raise ConfigError(f"run_dir={path} cannot be written: {error.strerror}; choose another folder") from None

    def beat() -> None:
        if is_job(path) and not lock.is_lost:
            write_status(path, {"state": "running", **start, "seconds": round(time.monotonic() - began, 3)})

    try:
        with Heartbeat(beat) as heartbeat:
            beat()
            heartbeat.start()
            yield
    finally:
        with suppress(OSError):
            beat()  # with the time it took; whoever knows how it ended, writes that
        lock.release()
