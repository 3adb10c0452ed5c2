"""Several processes for one run: who starts them, what happens when one is lost, and how they stop."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from lightning.pytorch.callbacks import Callback

from treg_exp.errors import ConfigError

# Lightning and torch.distributed read these; the last one tells Lightning to start no processes itself.
VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK")
POLL_SECONDS = 0.5


def launched_outside() -> bool:
    """Whether srun, torchrun or the like has started one process per device."""
    from lightning.fabric.plugins.environments import LSFEnvironment, SLURMEnvironment

    return "LOCAL_RANK" in os.environ or SLURMEnvironment.detect() or LSFEnvironment.detect()


def check_launch(num_nodes: int) -> None:
    """Several machines need a launcher: the first process would wait for the others for ever.

    Raises:
        ConfigError: nobody has told this process which machine it is, and where the first one is.
    """
    if num_nodes > 1 and not ({"MASTER_ADDR", "NODE_RANK"} <= set(os.environ) or launched_outside()):
        raise ConfigError(f"trainer.num_nodes={num_nodes}: start one process per node, with srun or torchrun")


def is_first() -> bool:
    """Whether this process opens the run folder, writes the status and concludes."""
    from lightning.pytorch.utilities import rank_zero_only

    node = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0 and int(node) == 0


class LocalProcesses:
    """The further processes of a run on this machine; the caller is number 0.

    Lightning would start them with the command line of this process. In a multirun that is the whole sweep, and
    processes that walk the same list of jobs get mixed up as soon as one job needs fewer of them. When one of them
    fails, Lightning kills this process, which could then not say so.

    Args:
        command: of each of them; ``LOCAL_RANK`` in the environment says which one it is.
        count: processes including the caller; with 1 this class does nothing.
        on_loss: called with (number, exit code) when one of them fails. It must end this process: that may be waiting
            for the lost one, inside a library that no exception reaches.
    """

    def __init__(self, command: Sequence[str], count: int, on_loss: Callable[[int, int], None]) -> None:
        self.command, self.count, self.on_loss = command, count, on_loss
        self.processes: list[subprocess.Popen[bytes]] = []
        self.before: dict[str, str | None] = {}
        self.leaving = threading.Event()

    def __enter__(self) -> LocalProcesses:
        if self.count < 2:
            return self
        from lightning.fabric.plugins.environments.lightning import find_free_network_port

        self.before = {name: os.environ.get(name) for name in VARIABLES}
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", str(find_free_network_port()))
        os.environ.setdefault("NODE_RANK", "0")
        os.environ["LOCAL_RANK"] = "0"
        for number in range(1, self.count):
            environment = {**os.environ, "LOCAL_RANK": str(number)}
            # A process group of its own: Ctrl-C reaches this process alone, which then ends the others.
            self.processes.append(subprocess.Popen(self.command, env=environment, process_group=0))
        threading.Thread(target=self._watch, name="watch-processes", daemon=True).start()
        return self

    def wait(self) -> None:
        """Wait until all have ended."""
        for process in self.processes:
            if process.wait():
                threading.Event().wait()  # until the watch, which sees it as well, ends this process

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.count < 2:
            return
        self.leaving.set()
        for process in self.processes:
            process.kill()  # those that have ended do not mind; rows are written whole, so nothing is lost
            process.wait()
        leave_group()
        for name, value in self.before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    def _watch(self) -> None:
        while not self.leaving.wait(POLL_SECONDS):
            for number, process in enumerate(self.processes, start=1):
                code = process.poll()
                if code and not self.leaving.is_set():
                    self.on_loss(number, code)


def leave_group() -> None:
    """Leave the process group, if there is one: the next job of a multirun makes its own.

    A process that exits within it is aborted now and then: the group's threads may want the interpreter while it ends.
    """
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def end_with_parent() -> None:
    """End this process when the one that started it is gone, even if that one was killed."""
    parent = os.getppid()

    def watch() -> None:
        while not threading.Event().wait(POLL_SECONDS):
            if os.getppid() != parent:
                os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


class OwnSigterm(Callback):
    """Keeps this program's answer to SIGTERM.

    Lightning's takes a note that its predict loop never reads, and with several processes first waits for all of them.
    """

    def __init__(self) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Lightning has just set its own; it takes that back when it ends."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)
