"""A process of a pool, from both ends: it does one job after another, and what they share is loaded once."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from treg_exp.configuration.command_line import interrupt
from treg_exp.configuration.output import output_that_stops_nothing
from treg_exp.engine.outcome import INTERRUPTED
from treg_exp.run_layout import RunLayout
from treg_exp.stamps import Stamp, stamp_of
from treg_exp.sweeps.local.slots import Slot
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


def _serve(connection: Connection, has_gpu: bool, work: Callable[[Path], int], prepare: Callable[[], None]) -> None:
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
    """Append to a file what this process and its libraries print; where that fails, it goes where it went before."""
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


class Worker:
    """A process in a slot, seen from the process that started it.

    Args:
        slot: where it works.
        work: does the job of a run folder and returns its exit code; a function of a module.
        prepare: called before the first job.

    Attributes:
        folder: of the job that it does now; None where it does none.
        is_ready: whether it waits for a job.
        since: when it got the job, in s of `time.monotonic`.
        before: stamp of the job's status at that time; None where it had none.
    """

    def __init__(self, slot: Slot, work: Callable[[Path], int], prepare: Callable[[], None]) -> None:
        self.slot = slot
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (theirs, os.getpid(), slot.has_gpu, work, prepare)
        self.process = context.Process(target=serve, args=arguments, name=slot.name)
        # Nothing is imported from the current folder, which a sweep's manifest may choose.
        with _variables({**slot.environment, "PYTHONSAFEPATH": "1"}), _ctrl_c_held_back():
            self.process.start()
        theirs.close()
        self.folder: Path | None = None
        self.is_ready, self.since = False, time.monotonic()
        self.before: Stamp | None = None

    def give(self, folder: Path) -> None:
        """Let it do a job."""
        self.before = status_stamp(folder)
        self.folder, self.is_ready, self.since = folder, False, time.monotonic()
        with suppress(OSError):  # it is gone, as `answer` will tell
            self.connection.send(folder)

    def answer(self) -> Answer | None:
        """What it says, once there is something to be read; None where it has ended without a word."""
        try:
            answer: Answer = self.connection.recv()
        except (EOFError, OSError):
            self.end(seconds=10.0)  # a broken GPU may hold it up
            return None
        self.is_ready = not answer[1]
        return answer

    def leave(self) -> None:
        """Let it end: it does no job. One that gets ready would do so first."""
        if self.is_ready:
            with suppress(OSError):
                self.connection.send(None)
        else:
            self.process.kill()

    def end(self, seconds: float) -> None:
        """Wait until it has ended; after some seconds it is killed."""
        try:
            self.process.join(seconds)
        finally:  # also where the user does not want to wait
            self.process.kill()
            self.process.join()

    @property
    def ending(self) -> str:
        """How it has ended, in words."""
        code = self.process.exitcode or 0
        if code >= 0:
            return f"the process has ended with exit code {code}"
        name = signal.Signals(-code).name if -code in [*signal.Signals] else f"signal {-code}"
        why = " (so the system ends processes when the memory is used up)" if code == -signal.SIGKILL else ""
        return f"the process was ended by {name}{why}"


def status_stamp(folder: Path) -> Stamp | None:
    """Tells whether a status was written anew; None where there is none."""
    file = RunLayout(folder).status
    return stamp_of(file) if file.is_file() else None


@contextmanager
def _variables(environment: Mapping[str, str]) -> Iterator[None]:
    """Within it, processes start with these variables: some are read before their first line of Python."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Within it, processes start that do not end with a traceback when Ctrl-C comes before they can say what to do."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
