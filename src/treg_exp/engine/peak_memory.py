"""The most memory that a piece of work has in use."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path

import torch

GIGABYTE = 1e9
_STATUS = Path("/proc/self/status")  # of Linux, see proc(5)
_PEAK = "VmHWM:"  # of resident memory since the process began, or since it was begun anew, in kB
_BEGIN_ANEW = Path("/proc/self/clear_refs"), "5"


class PeakMemory:
    """Counts from when it is made. Weights and what torch keeps for later use are part of it, other processes are not.

    On a GPU it is what torch has allocated. On a CPU it is the resident memory of the process, and known only where the
    work has set a new peak: the system keeps one, which `begin_peak` begins anew with each run.

    Args:
        device: where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self._before = _resident_peak()

    @property
    def gigabytes(self) -> float | None:
        """The peak so far, None where it is not known."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / GIGABYTE
        now = _resident_peak() if self.device.type == "cpu" else None
        return None if now is None or self._before is None or now <= self._before else now


def begin_peak() -> None:
    """Let the system forget the peak of this process, which is that of an earlier run in it; Linux only.

    What that run has freed goes back to the system first: the allocator keeps it, and hides every peak below it.
    """
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):  # of glibc alone
        trim = ctypes.CDLL(None).malloc_trim
        trim.argtypes = [ctypes.c_size_t]
        trim(0)
    file, word = _BEGIN_ANEW
    with suppress(OSError):
        file.write_text(word)


def _resident_peak() -> float | None:
    """In GB; None on other systems than Linux."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / GIGABYTE for line in lines if line.startswith(_PEAK)), None)
