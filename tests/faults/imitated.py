"""Faults that a child of the nursery imitates, each called before its program starts."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

HERE = __name__


def die_at_write(number: int, after: bool) -> None:
    """Be killed at a write: just before the new file gets its name, or just after."""
    left, replace = [number], Path.replace

    def counted(self: Path, target: Any) -> Path:
        left[0] -= 1
        if left[0] == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        moved = replace(self, target)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return moved

    Path.replace = counted  # type: ignore[method-assign, assignment]


def job_by_job() -> None:
    """The seed of a job says what goes wrong there; 0 and 6: nothing."""
    from treg_exp.engine.module import RestorationModule
    from treg_exp.metrics.residual import Residual

    restore, judge = RestorationModule.restore, Residual.__call__
    judged: dict[int, int] = {}
    now = 0

    def broken_restore(self: Any, pairs: Any) -> Any:
        nonlocal now
        now = self.seed
        if now == 1:
            raise TypeError("the solver has a mistake")
        if now == 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        if now == 5:
            raise SystemExit(3)
        return restore(self, pairs)

    def broken_judge(self: Any, inp: Any) -> Any:
        judged[now] = judged.get(now, 0) + 1
        if now == 3 or (now == 2 and judged[now] == 1):
            raise ValueError("the metric has\na mistake")
        return judge(self, inp)

    RestorationModule.restore = broken_restore  # type: ignore[method-assign]
    Residual.__call__ = broken_judge  # type: ignore[method-assign]


def vanish(gone: str, damaged: str) -> None:
    """When the first run has opened its folder, one file is no longer there, and another one is cut off."""
    from treg_exp.engine.run_folder import RunFolder

    write = RunFolder.write_environment

    def after_opening(self: Any, precision: str) -> None:
        write(self, precision)
        Path(gone).unlink(missing_ok=True)
        Path(damaged).write_bytes(Path(damaged).read_bytes()[:60])

    RunFolder.write_environment = after_opening  # type: ignore[method-assign]


def run_job(arguments: list[str]) -> int:
    """What `treg-exp resume RUN` does."""
    from treg_exp.sweeps.resuming import resume

    return resume(Path(arguments[0]))


def full_after(writes: int) -> None:
    """The disk is full after so many new files: from then on nothing new can be written, and nothing longer."""
    import errno

    import treg_exp.files

    left, synced = [writes], treg_exp.files._to_disk

    def full(file: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        synced(file)

    treg_exp.files._to_disk = full


def no_rights() -> None:
    """Permissions count, also for root."""
    import ctypes

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Data(ctypes.Structure):
        _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))

    header, data = Header(0x20080522, 0), (Data * 2)()
    assert ctypes.CDLL(None, use_errno=True).capset(ctypes.byref(header), data) == 0


def environment(values: dict[str, str]) -> None:
    """Variables of the environment."""
    os.environ.update(values)


def broken_logger() -> None:
    """A logger of Lightning that can write nothing; TensorBoard's has the same methods."""
    from lightning.pytorch.loggers import CSVLogger

    def fail(self: Any, *arguments: Any, **named: Any) -> None:
        raise OSError("No space left on device")

    for name in ("log_hyperparams", "log_metrics", "finalize"):
        setattr(CSVLogger, name, fail)


def clock_that_jumps(days: float) -> None:
    """Every look at the clock finds it set forward, or back again."""
    import time

    real, local, looks = time.time, time.localtime, [0]

    def jumping() -> float:
        looks[0] += 1
        return real() + 86400 * days * (looks[0] % 2)

    def strftime(form: str, moment: Any = None) -> str:
        return written(form, local(jumping()) if moment is None else moment)

    written = time.strftime
    time.time, time.strftime = jumping, strftime
