"""A process of a pool: it does one job after another, and what they share is loaded once."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from treg_exp.configuration.command_line import interrupt
from treg_exp.configuration.output import output_that_stops_nothing
from treg_exp.engine.outcome import INTERRUPTED
from treg_exp.run_layout import RunLayout
from treg_exp.worker import end_with

Answer = tuple[int, str]  # exit code of a job, and why this process takes no more; empty where it does


def execute_job(folder: Path) -> int:
    """See `treg_exp.sweeps.job.execute`, which imports more than the process of a pool may before its first line."""
    from treg_exp.sweeps.job import execute

    return execute(folder)


def import_all() -> None:
    """Import what every job needs, while there is none."""
    import treg_exp.app
    import treg_exp.engine.module  # noqa: F401


def serve(
    connection: Connection, parent: int, has_gpu: bool, work: Callable[[Path], int], prepare: Callable[[], None]
) -> None:
    """Do jobs until there are no more, or until the process that sends them is gone.

    The first answer is that of no job: whether this process can do any. SIGTERM interrupts the job.

    Args:
        connection: brings the run folders, None at the end, and takes an `Answer` for each.
        parent: process that started this one.
        has_gpu: whether there has to be one GPU.
        work: does the job of a run folder and returns its exit code.
        prepare: called before the first job.
    """
    end_with(parent)
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the process that started this one, which ends it
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    faulthandler.enable()
    with output_that_stops_nothing():
        try:
            _serve(connection, has_gpu, work, prepare)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except (EOFError, OSError):  # nobody is there any more
            sys.exit(1)


def _serve(
    connection: Connection, has_gpu: bool, work: Callable[[Path], int], prepare: Callable[[], None]
) -> None:
    problem = _missing_gpu() if has_gpu else ""
    if not problem:
        prepare()
    connection.send((0, problem))
    while not problem and (folder := connection.recv()) is not None:
        with _printing_to(RunLayout(folder).log):
            code = _exit_code(work, folder)
        problem = gpu_error() if code else ""
        connection.send((code, problem))


def _exit_code(work: Callable[[Path], int], folder: Path) -> int:
    try:
        return work(folder)
    except Exception:
        traceback.print_exc()
        return 1


@contextmanager
def _printing_to(file: Path) -> Iterator[None]:
    """Append to a file what this process and its libraries print; where that cannot be, it goes where it went before."""
    before = [os.dup(number) for number in (1, 2)]
    try:
        with suppress(OSError), file.open("ab") as log:
            for number in (1, 2):
                os.dup2(log.fileno(), number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in enumerate(before, 1):
            os.dup2(old, number)
            os.close(old)


def _missing_gpu() -> str:
    """Why there is no GPU for this process; empty where there is."""
    import torch

    count = torch.cuda.device_count()
    if count != 1:
        return f"this process should see one GPU, and sees {count}"
    try:
        torch.zeros(1, device="cuda")
    except RuntimeError as error:
        return _first_line(error)
    return gpu_error()


def gpu_error() -> str:
    """What is wrong with the GPU of this process: after some errors of CUDA all further calls fail, too."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return ""
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        return _first_line(error)
    return ""


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].strip() or type(error).__name__
