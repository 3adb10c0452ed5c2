"""Jobs side by side on this machine: a process for each GPU, or for each slot of CPU cores."""

from __future__ import annotations

import atexit
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from treg_exp.configuration.places import errors_at
from treg_exp.engine.environment import read_noted
from treg_exp.engine.outcome import INTERRUPTED
from treg_exp.engine.status import read_status, write_status
from treg_exp.run_layout import RunLayout
from treg_exp.sweeps.launching import FolderLauncher
from treg_exp.sweeps.local.slots import Slot, check_slots, find_slots
from treg_exp.sweeps.local.worker import Worker, execute_job, import_all, status_stamp
from treg_exp.sweeps.manifest import NEEDS_NO_START


class LocalPool(FolderLauncher):
    """A process for each GPU of this machine, or for each of some slots on its CPU.

    Args:
        devices: ``auto`` for all GPUs that are visible (``CUDA_VISIBLE_DEVICES``), how many of them, or a list of their
            numbers among these, or of names that CUDA knows (``GPU-...``, ``MIG-...``).
        slots: processes on the CPU instead, each with its share of the cores unless ``OMP_NUM_THREADS`` says more.
        patience: jobs in a row that may fail in one slot without a single restoration; then it gets no more.
        grace: s that an interrupted job has to write its status before it is killed.
    """

    def __init__(
        self,
        devices: int | str | Sequence[int | str] = "auto",
        slots: int | None = None,
        patience: int = 3,
        grace: float = 30.0,
    ) -> None:
        self.devices, self.slots, self.patience, self.grace = devices, slots, patience, grace
        self.pool: Pool | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """See `FolderLauncher`."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        with errors_at("hydra.launcher"):
            check_slots(self.devices, self.slots, self.patience, self.grace)

    def run(self, folders: Sequence[Path]) -> None:
        """See `FolderLauncher`. The processes stay for further jobs, which a search has, until this program ends."""
        if self.pool is None:
            with errors_at("hydra.launcher"):
                slots = find_slots(self.devices, self.slots)
            self.pool = Pool(slots, self.patience, self.grace)
            atexit.register(self.pool.close)
        self.pool.run(folders)


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
        """Do the jobs of these folders, in this order, and return when all have ended. The processes stay.

        Raises:
            KeyboardInterrupt: after the jobs were interrupted, too.
        """
        self.waiting, self.numbers = deque(folders), {folder: i for i, folder in enumerate(folders, 1)}
        try:
            while self._fill():
                by_place = {worker.connection: worker for worker in self.workers}
                for place in connection.wait([*by_place]):
                    self._hear(by_place[place])  # type: ignore[index]
        except BaseException:
            self._interrupt()
            raise
        if self.waiting:
            told = "every slot has failed too often; the same command starts them again"
            print(f"error: {len(self.waiting)} jobs were not started: {told}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the processes; none of them does a job."""
        for worker in self.workers:
            worker.leave()
        for worker in self.workers:
            worker.end(self.grace)
        self.workers = []

    def _fill(self) -> bool:
        """Give jobs to all slots that can take one; whether there is anything to wait for."""
        for worker in self.workers:
            if worker.is_ready and self._may_work(worker.slot) and (folder := self._next()):
                self._tell(worker, folder, "started")
                worker.give(folder)
        taken = {worker.slot.name for worker in self.workers}
        starting = sum(not worker.is_ready and worker.folder is None for worker in self.workers)
        for slot in self.slots:
            if slot.name not in taken and self._may_work(slot) and starting < len(self.waiting):
                self.workers.append(Worker(slot, self.work, self.prepare))
                starting += 1
        return any(worker.folder is not None for worker in self.workers) or (bool(self.waiting) and self._is_any_left())

    def _is_any_left(self) -> bool:
        return any(self._may_work(worker.slot) for worker in self.workers)

    def _may_work(self, slot: Slot) -> bool:
        return self.failures[slot.name] < self.patience

    def _next(self) -> Path | None:
        """The next job that nobody else does."""
        while self.waiting:
            folder = self.waiting.popleft()
            if read_status(folder).state not in NEEDS_NO_START:  # by another command for the same sweep
                return folder
        return None

    def _hear(self, worker: Worker) -> None:
        """Something has come from a process: an answer, or its end."""
        answer, folder = worker.answer(), worker.folder
        worker.folder = None
        problem = worker.ending if answer is None else answer[1]
        if problem:
            self.workers.remove(worker)
            worker.end(seconds=10.0)  # it does so by itself, unless a broken GPU holds it up
        if folder is None:  # it was to get ready
            if problem:
                self._failed(worker.slot, problem)
            return
        if answer is None:
            _record(worker, folder, "failed", problem)
        self._conclude(worker, folder, 1 if answer is None else answer[0], problem)

    def _conclude(self, worker: Worker, folder: Path, code: int, problem: str) -> None:
        """A job has ended."""
        status = read_status(folder)
        state = status.state if code == 0 or status.state != "queued" else "failed"
        error = status.problem or problem
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

    def _tell(self, worker: Worker, folder: Path, what: str) -> None:
        print(f"[{self.numbers[folder]}/{len(self.numbers)}] {worker.slot.name}: {folder} {what}", flush=True)

    def _interrupt(self) -> None:
        """Interrupt what still works, and wait for it."""
        for worker in self.workers:
            worker.process.terminate()
        deadline = time.monotonic() + self.grace
        try:
            for worker in self.workers:
                worker.end(max(deadline - time.monotonic(), 0.0))
        finally:
            for worker in self.workers:
                worker.end(0.0)  # the user did not want to wait
                if worker.folder is not None:
                    _record(worker, worker.folder, "interrupted")
            self.workers = []


def _record(worker: Worker, folder: Path, state: str, error: str = "") -> None:
    """Write what a job could not write any more, because its process has ended."""
    with suppress(OSError):
        known = read_noted(RunLayout(folder).status)
        is_its_own = status_stamp(folder) != worker.before
        if is_its_own and (known.get("state") != "running" or known.get("pid") != worker.process.pid):
            return  # it has come to write how it ended
        code = INTERRUPTED if state == "interrupted" else 1
        write_status(folder, {**known, "state": state, "exit_code": code} | ({"error": error} if error else {}))
