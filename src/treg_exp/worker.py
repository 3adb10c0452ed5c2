"""One further process of a run: ``python -P -m treg_exp.worker FOLDER RANK WORLD PARENT``, see `engine.processes`.

This module imports little: from its first moment the process must not outlive the one that started it.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def main(folder: str, rank: int, world: int, parent: int) -> int:
    """Restore this process's share of a run.

    Args:
        folder: the run folder; the configuration and the batches are there.
        rank: number of this process, from 1.
        world: number of processes of the run.
        parent: process that started this one.

    Returns:
        Exit status: 0 done, 1 it cannot go on, 2 a setting that cannot work here.
    """
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends as by SIGTERM: at once, and the first process says so
    for name in ("SIGUSR1", "SIGUSR2"):  # Slurm tells all processes that the time is nearly over; the first one answers
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    from treg_exp.configuration.output import output_that_stops_nothing
    from treg_exp.errors import ConfigError, RunFailedError
    from treg_exp.files import WriteError

    with output_that_stops_nothing():
        from treg_exp.restoring import join

        try:
            join(folder, rank, world, partial(end_without, parent))
        except (ConfigError, RunFailedError, WriteError) as error:
            print(f"error: process {rank}: {error}", file=sys.stderr)
            return 2 if isinstance(error, ConfigError) else 1
    return 0


def end_with(parent: int) -> None:
    """Let the kernel end this process with the one that started it, even if that one is killed.

    Linux does that, torch's launcher does not. Elsewhere the next step of the solver finds out.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    end_without(parent)  # it may have been killed before this line


def end_without(parent: int) -> None:
    """End this process if the one that started it is gone."""
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
