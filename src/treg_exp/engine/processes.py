"""The further processes of one run on this machine: how they are started, watched and ended.

Restorations are independent, so processes work without a word to each other: process r of n takes the batches r, r + n,
r + 2n, ... and writes its rows into a file of its own.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from treg_exp.errors import RunFailedError

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import PContext

POLL_SECONDS = 0.1
# The launcher puts its own handlers in place of these.
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT") if hasattr(signal, name)]


class ProcessLostError(RunFailedError):
    """Another process of the run has ended with an error.

    Attributes:
        interrupted: somebody has stopped it, as with Ctrl-C.
    """

    def __init__(self, rank: int, code: int) -> None:
        why = " (so the system ends processes when the memory is used up)" if code == -signal.SIGKILL else ""
        super().__init__(
            f"process {rank} of the run ended with code {code}; the same command continues with what is missing{why}"
        )
        self.interrupted = code in (-signal.SIGTERM, -signal.SIGINT)


class Workers:
    """Further processes of a run on this machine, watched and ended by torch's elastic launcher.

    Of the launcher this is the part that holds processes. Its agent would add a rendezvous and restarts: there is
    nothing to agree on, and the same command continues a run anyway. Each worker has a session of its own: Ctrl-C
    reaches this process alone, which then ends them.

    The launcher does not end its processes when it is killed itself; see ``treg_exp.worker`` for that.

    Args:
        commands: arguments of Python for each of them; the first is process 1 of the run. Empty: this does nothing.
    """

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self.commands = commands
        self.context: PContext | None = None

    def __enter__(self) -> Workers:
        if not self.commands:
            return self
        from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, start_processes

        logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # we say it ourselves
        # They import what this process imports, and nothing from the current folder.
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        try:
            self.context = start_processes(
                name="process",
                entrypoint=sys.executable,
                args={i: ("-P", *command) for i, command in enumerate(self.commands)},
                envs={i: dict(environment) for i in range(len(self.commands))},
                logs_specs=DefaultLogsSpecs(log_dir=os.devnull),  # they write where this process writes
            )
        except SignalException as error:  # by the launcher's handlers, while it started
            raise KeyboardInterrupt from error
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():
                    signal.signal(number, handler or signal.SIG_DFL)
        return self

    def check(self) -> None:
        """Look after them; to be called now and then. One that somebody has stopped is told on stderr.

        Raises:
            ProcessLostError: one has ended with an error. The launcher has ended the others.
        """
        if self.context is not None:
            self._look(self.context)

    def wait(self) -> None:
        """Wait until all have ended.

        Raises:
            ProcessLostError: one has ended with an error.
        """
        while self.context is not None and not self._look(self.context):
            time.sleep(POLL_SECONDS)

    @staticmethod
    def _look(context: PContext) -> bool:
        """Whether all have ended without an error."""
        for rank, pid in enumerate(context.pids().values(), 1):
            if _stopped(pid):
                told = f"process {rank} of the run is stopped and waited for; `kill -CONT {pid}` lets it go on"
                print(told, file=sys.stderr, flush=True)
        result = context.wait(0)
        if result is not None and result.is_failed():
            index, failure = next(iter(result.failures.items()))  # the first; the launcher itself ended the others
            raise ProcessLostError(index + 1, failure.exitcode)
        return result is not None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.context is not None:
            self.context.close(signal.SIGKILL)  # rows are written whole, so nothing is lost
            self.context = None


def _stopped(pid: int) -> bool:
    """Whether a process of ours was stopped since the last call, as by SIGSTOP; False where the system cannot say."""
    if not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG) is not None
    except ChildProcessError:  # it has ended
        return False
