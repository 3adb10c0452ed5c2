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
