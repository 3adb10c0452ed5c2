"""The most memory that a piece of work has in use."""

from __future__ import annotations

from pathlib import Path

import torch

GIGABYTE = 1e9
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_PEAK = "VmHWM:"  # of resident memory, in kB
_RESET_PEAK = "5"  # what `clear_refs` takes as an order to begin the peak anew, see proc(5)


class PeakMemory:
    """Counts from when it is made. On a GPU: what torch has allocated. On a CPU (Linux): resident memory.

    Other processes are no part of it, weights and what torch keeps for later use are.

    Args:
        device: where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._counts = True
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            self._counts = device.type == "cpu" and _begin_anew()

    @property
    def gigabytes(self) -> float | None:
        """The peak so far, None where the system does not tell."""
        if not self._counts:
            return None
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / GIGABYTE
        return _resident_peak()


def _begin_anew() -> bool:
    try:
        _RESET.write_text(_RESET_PEAK)
    except OSError:  # another system, or one that forbids it: a peak since the start of the process tells nothing
        return False
    return True


def _resident_peak() -> float | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / GIGABYTE for line in lines if line.startswith(_PEAK)), None)
