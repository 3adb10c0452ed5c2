"""Jobs side by side on this machine: a process for each GPU, or for each slot of CPU cores."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

from treg_exp.engine.status import read_status, write_status
from treg_exp.errors import FileError
from treg_exp.files import read_json
from treg_exp.run_layout import RunLayout
from treg_exp.sweeps.pool_worker import Answer, execute_job, import_all, serve
from treg_exp.sweeps.slots import Slot


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
    """

    def __init__(self, slot: Slot, work: Callable[[Path], int], prepare: Callable[[], None]) -> None:
        self.slot = slot
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (theirs, os.getpid(), slot.has_gpu, work, prepare)
        self.process = context.Process(target=serve, args=arguments, name=slot.name)
        with _variables(slot.environment), _ctrl_c_held_back():
            self.process.start()
        theirs.close()
        self.folder: Path | None = None
        self.is_ready, self.since = False, time.monotonic()

    def give(self, folder: Path) -> None:
        """Let it do a job."""
        self.folder, self.is_ready, self.since = folder, False, time.monotonic()
        with suppress(OSError):  # it is gone, as `answer` will tell
            self.connection.send(folder)

    def answer(self) -> Answer | None:
        """What it says, once there is something to be read; None where it has ended without a word."""
        try:
            answer: Answer = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return None
        self.is_ready = not answer[1]
        return answer

    def leave(self) -> None:
        """Let it end by itself: it does no job."""
        with suppress(OSError):
            self.connection.send(None)

    @property
    def ending(self) -> str:
        """How it has ended, in words."""
        code = self.process.exitcode or 0
        if code >= 0:
            return f"the process of this job has ended with exit code {code}"
        name = signal.Signals(-code).name if -code in [*signal.Signals] else f"signal {-code}"
        why = " (so the system ends processes when the memory is used up)" if code == -signal.SIGKILL else ""
        return f"the process of this job was ended by {name}{why}"


class Pool:
    """Does jobs in several slots.

    A process that dies costs its own job only: another one takes over. A slot where one job after the other fails
    without a single restoration, as on a GPU that is lost or full, gets no further ones.

    Args:
        slots: one process each.
        patience: jobs in a row that may fail so in a slot.
        grace: s that an interrupted job has to write its status.
        work: see `Worker`.
        prepare: see `Worker`.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        patience: int = 3,
        grace: float = 30.0,
        work: Callable[[Path], int] = execute_job,
        prepare: Callable[[], None] = import_all,
    ) -> None:
        self.patience, self.grace, self.work, self.prepare = patience, grace, work, prepare
        self.slots = list(slots)
        self.failures = dict.fromkeys((slot.name for slot in slots), 0)
        self.workers: list[Worker] = []

    def run(self, folders: Sequence[Path]) -> None:
        """Do the jobs of these folders, in this order, and return when all have ended.

        Raises:
            KeyboardInterrupt: after the jobs were interrupted, too.
        """
        self.waiting, self.numbers = deque(folders), {folder: i for i, folder in enumerate(folders, 1)}
        try:
            while self._fill():
                by_place = {worker.connection: worker for worker in self.workers}
                for place in connection.wait([*by_place]):
                    self._hear(by_place[place])  # type: ignore[index]
        finally:
            self._end()
        if self.waiting:
            told = "every slot has failed too often; the same command starts them again"
            print(f"error: {len(self.waiting)} jobs were not started: {told}", file=sys.stderr, flush=True)

    def _fill(self) -> bool:
        """Give jobs to all slots that can take one; whether there is anything to wait for."""
        taken = {worker.slot.name for worker in self.workers}
        starting = sum(not worker.is_ready and worker.folder is None for worker in self.workers)
        for slot in self.slots:
            if slot.name not in taken and self.failures[slot.name] < self.patience and starting < len(self.waiting):
                self.workers.append(Worker(slot, self.work, self.prepare))
                starting += 1
        for worker in self.workers:
            if worker.is_ready and (folder := self._next()):
                self._tell(worker, folder, "started")
                worker.give(folder)
        for worker in [worker for worker in self.workers if not self.waiting and worker.folder is None]:
            self._dismiss(worker)
        return bool(self.workers)

    def _next(self) -> Path | None:
        """The next job that nobody else does."""
        while self.waiting:
            folder = self.waiting.popleft()
            if read_status(folder).state not in ("finished", "running"):  # by another command for the same sweep
                return folder
        return None

    def _hear(self, worker: Worker) -> None:
        """Something has come from a process: an answer, or its end."""
        answer, folder = worker.answer(), worker.folder
        worker.folder = None
        problem = worker.ending if answer is None else answer[1]
        if answer is None or problem:
            self.workers.remove(worker)
            worker.leave()
        if folder is None:  # it was to get ready
            if problem:
                self._failed(worker.slot, problem)
            return
        if answer is None:
            _record(folder, worker.process.pid, "failed", problem)
        self._conclude(worker, folder, 1 if answer is None else answer[0], problem)

    def _conclude(self, worker: Worker, folder: Path, code: int, problem: str) -> None:
        """A job has ended."""
        status = read_status(folder)
        state = status.state if code == 0 or status.state != "queued" else "failed"
        error = (status.error or problem).partition("\n")[0]
        self._tell(worker, folder, f"{state} after {time.monotonic() - worker.since:.0f} s{error and f': {error}'}")
        if code == 0 or status.finished > status.begun_with:
            self.failures[worker.slot.name] = 0
        elif code == 1 and state != "interrupted":
            self._failed(worker.slot, error)

    def _failed(self, slot: Slot, error: str) -> None:
        """Count a failure of a slot; it is retired with the last one that it may have."""
        self.failures[slot.name] += 1
        if self.failures[slot.name] == self.patience:
            told = f"{self.patience} failures in a row without a restoration, gets no more jobs; the last: {error}"
            print(f"error: {slot.name}: {told}", file=sys.stderr, flush=True)

    def _dismiss(self, worker: Worker) -> None:
        """Send a process away that does no job."""
        worker.leave()
        if not worker.is_ready:  # it would first get ready
            worker.process.kill()
        self.workers.remove(worker)
        worker.process.join()

    def _tell(self, worker: Worker, folder: Path, what: str) -> None:
        print(f"[{self.numbers[folder]}/{len(self.numbers)}] {worker.slot.name}: {folder} {what}", flush=True)

    def _end(self) -> None:
        """Interrupt what still works, and wait for it."""
        for worker in self.workers:
            worker.process.terminate()
        deadline = time.monotonic() + self.grace
        try:
            for worker in self.workers:
                worker.process.join(max(deadline - time.monotonic(), 0))
        finally:  # also where the user does not want to wait
            for worker in self.workers:
                worker.process.kill()
                worker.process.join()
                if worker.folder is not None:
                    _record(worker.folder, worker.process.pid, "interrupted", "")
            self.workers.clear()


def _record(folder: Path, pid: int | None, state: str, error: str) -> None:
    """Write what a job could not write any more, because its process has ended."""
    with suppress(OSError):
        try:
            before: dict[str, Any] = read_json(RunLayout(folder).status)
        except FileError:
            before = {}
        if not before or (before.get("state") == "running" and before.get("pid") == pid):
            code = {"exit_code": 130 if state == "interrupted" else 1}
            write_status(folder, {**before, "state": state, **code} | ({"error": error} if error else {}))


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
