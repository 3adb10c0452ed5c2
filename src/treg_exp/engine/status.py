"""``status.json``: how far a run is, and whether somebody works on it. Read without torch, from any machine."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treg_exp.errors import FileError
from treg_exp.files import read_json, write_json
from treg_exp.run_layout import RunLayout

HEARTBEAT = 10.0  # s between two signs of life of a running run
STALE_AFTER = 120.0  # s without one: the run is no longer there
_CLOCK = "%Y-%m-%dT%H:%M:%S%z"


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
        state: queued (nothing has happened yet), running, stale (it was running and its process is gone), finished,
            failed, interrupted, or pruned (a search has ended it early).
        expected: restorations of the run, None where it has not come so far.
        finished: of them, those that are there.
        failed: of them, those that could not be made.
        seconds: s from its start to its last sign, by a monotonic clock.
        begun_with: restorations that were there at that start.
        host: machine of the run.
        error: what went wrong, empty where nothing did.
        exit_code: of a job of a sweep that has ended.
    """

    state: str = "queued"
    expected: int | None = None
    finished: int = 0
    failed: int = 0
    seconds: float = 0.0
    begun_with: int = 0
    host: str = ""
    error: str = ""
    exit_code: int = 0

    @property
    def problem(self) -> str:
        """What went wrong, in one line; empty where nothing did."""
        return self.error.strip().split("\n")[0]


def read_status(folder: Path) -> Status:
    """The status of a run folder; ``queued`` where there is none, failed where it cannot be read."""
    file = RunLayout(folder).status
    try:
        found = read_json(file)
        return _status(folder, found) if found else Status()
    except (FileError, OSError) as error:
        return Status("failed", error=str(error), exit_code=1)
    except (TypeError, ValueError, OverflowError) as error:
        return Status("failed", error=f"{file} is damaged: {error}", exit_code=1)


def _status(folder: Path, found: Mapping[str, Any]) -> Status:
    state = str(found.get("state"))
    if state == "running" and not is_alive(folder, found):
        state = "stale"
    failed_code = 2 if state == "failed" and found.get("expected") is None else 1
    return Status(
        state=state,
        expected=None if found.get("expected") is None else int(found["expected"]),
        finished=int(found.get("finished") or 0),
        failed=int(found.get("failed") or 0),
        seconds=float(found.get("seconds") or 0),
        begun_with=int(found.get("begun_with") or 0),
        host=str(found.get("host", "")),
        error=str(found.get("error") or ""),
        exit_code=int(found.get("exit_code", failed_code if state == "failed" else 0)),
    )


def is_alive(folder: Path, status: Mapping[str, Any]) -> bool:
    """Whether the process that wrote this status of a running run still works on it.

    On its own machine the lock of the folder says so; on another one, how old its last sign is. Both times of that
    comparison are the file system's, since the clocks of two machines may differ.
    """
    layout = RunLayout(folder)
    if status.get("host") == socket.gethostname() and (held := _is_held(layout.lock)) is not None:
        return held
    try:
        return abs(_now_of(folder) - layout.status.stat().st_mtime) < STALE_AFTER  # that clock may be set back, too
    except OSError:
        return False


def write_status(folder: Path, values: Mapping[str, Any]) -> None:
    """Write ``status.json``, with the time of this sign.

    Raises:
        WriteError: it cannot be written.
    """
    write_json(RunLayout(folder).status, {**values, "updated": time.strftime(_CLOCK)})


def here() -> dict[str, Any]:
    """Which process this is: its machine, its number, and its job of Slurm where it is one."""
    numbers = [os.environ.get(name) for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")]
    slurm = "_".join(filter(None, numbers)) or os.environ.get("SLURM_JOB_ID")
    place: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid()}
    return place | ({"slurm_job": slurm} if slurm else {})


def is_mine(status: Mapping[str, Any]) -> bool:
    """Whether this process has written a status."""
    return (status.get("host"), status.get("pid")) == (socket.gethostname(), os.getpid())


def now() -> str:
    """This moment, as a status writes it."""
    return time.strftime(_CLOCK)


def _is_held(lock: Path) -> bool | None:
    """Whether another process of this machine holds a lock; None where that cannot be found out."""
    try:
        import fcntl

        with lock.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except (ImportError, OSError):  # no locks here
        return None
    return False


def _now_of(folder: Path) -> float:
    """The clock of a folder's file system; this machine's where nobody may write there."""
    probe = folder / f".now-{os.getpid()}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):  # a file system that is read only says so even of a file that is not there
            probe.unlink(missing_ok=True)
