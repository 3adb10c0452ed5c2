"""The processes of one run: which one this is, how further ones are started, watched and ended, and where they meet.

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any

from treg_exp.errors import ConfigError, RunFailedError

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import PContext

POLL_SECONDS = 0.1
LONGEST_WAIT = timedelta(days=7)  # of processes that are done for those that are not
_meetings = count()  # of the jobs of a multirun, which all processes walk through alike
# The launcher puts its own handlers in place of these.
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT") if hasattr(signal, name)]


class ProcessLostError(RunFailedError):
    """Another process of the run has ended with an error.

    Attributes:
        interrupted: somebody has stopped it, as with Ctrl-C.
    """

    def __init__(self, rank: int, code: int) -> None:
        super().__init__(
            f"process {rank} of the run ended with code {code}; the same command continues with what is missing"
        )
        self.interrupted = code in (-signal.SIGTERM, -signal.SIGINT)


@dataclass(frozen=True)
class Place:
    """Which process of a run this one is.

    Attributes:
        rank: its number in the run; 0 opens the run folder, writes the status and concludes.
        world: number of processes.
        local_rank: its number on this machine, and of its GPU.
        meeting: URL where processes that a launcher has started find each other; empty where none has.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    meeting: str = ""


def launched() -> Place:
    """The place that torchrun, srun or the like gives to this process.

    A launcher that has started this one only does not count: the run may then start further ones itself.

    Raises:
        ConfigError: what the launcher says in the environment is incomplete.
    """
    from lightning.fabric.plugins.environments import LSFEnvironment, SLURMEnvironment, TorchElasticEnvironment

    try:
        if {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= set(os.environ):
            environment: Any = TorchElasticEnvironment()
        elif kinds := [kind for kind in (SLURMEnvironment, LSFEnvironment) if kind.detect()]:
            environment = kinds[0]()
        else:
            return Place()
        rank, world = environment.global_rank(), environment.world_size()
        if world == 1:
            return Place()
        meeting = f"tcp://{environment.main_address}:{environment.main_port}"
        return Place(rank, world, environment.local_rank(), meeting)
    except (RuntimeError, ValueError, KeyError) as error:
        raise ConfigError(f"trainer: the launcher of this process: {error}") from None


def check_launch(place: Place, devices: int, num_nodes: int) -> None:
    """Processes that nobody has started would be waited for, and too many would do the work twice.

    Raises:
        ConfigError: the launcher and the settings of the trainer disagree.
    """
    if place.world == 1 and num_nodes > 1:
        raise ConfigError(f"trainer.num_nodes={num_nodes}: start one process per device, with srun or torchrun")
    if place.world > 1 and place.world != devices * num_nodes:
        raise ConfigError(
            f"trainer.devices={devices}, trainer.num_nodes={num_nodes}: the launcher has started {place.world} "
            "processes; their number must be the product of the two"
        )


def device(accelerator: str, local_rank: int) -> int | list[int]:
    """What Lightning calls the devices of one process: a GPU by its number, or one CPU."""
    return [local_rank] if _gpus(accelerator) else 1


def check_devices(accelerator: str, devices: int) -> None:
    """Find out before processes are started whether each gets a GPU.

    Raises:
        ConfigError: there are fewer.
    """
    gpus = _gpus(accelerator)
    if gpus and devices > gpus:
        raise ConfigError(f"trainer.devices={devices}: this machine has {gpus} GPU{'s' * (gpus > 1)}")


def _gpus(accelerator: str) -> int:
    import torch

    return 0 if accelerator == "cpu" else torch.cuda.device_count()


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
        """Look after them; to be called now and then.

        Raises:
            ProcessLostError: one has ended with an error. The launcher has ended the others.
        """
        if self.context is not None:
            self._raise_lost(self.context.wait(0))

    def wait(self) -> None:
        """Wait until all have ended.

        Raises:
            ProcessLostError: one has ended with an error.
        """
        if self.context is not None:
            self._raise_lost(self.context.wait(period=POLL_SECONDS))

    @staticmethod
    def _raise_lost(result: Any) -> None:
        if result is not None and result.is_failed():
            index, failure = next(iter(result.failures.items()))  # the first; the launcher itself ended the others
            raise ProcessLostError(index + 1, failure.exitcode)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.context is not None:
            self.context.close(signal.SIGKILL)  # rows are written whole, so nothing is lost
            self.context = None


@contextmanager
def meeting(place: Place) -> Iterator[None]:
    """Where processes that a launcher has started wait for each other.

    At the start, because all have to find the same work undone before one writes a row. At the end, because the first
    one then reads the rows of all. It is a process group and no file: a group notices that another process is lost.

    Raises:
        RuntimeError: another process is lost.
    """
    if not place.meeting:
        yield
        return
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    with _default_signals():  # no handler in Python would run before the last process has come
        store, _, _ = next(rendezvous(place.meeting, place.rank, place.world))
        store = PrefixStore(f"meeting {next(_meetings)}", store)  # torchrun's keeps what earlier ones wrote
        distributed.init_process_group(
            "gloo", store=store, rank=place.rank, world_size=place.world, timeout=LONGEST_WAIT
        )
    try:
        yield
        barrier = distributed.barrier(async_op=True)
        while not barrier.is_completed():
            time.sleep(POLL_SECONDS)
        barrier.wait()
    finally:
        # The next job of a multirun makes its own; and the group's threads may want the interpreter while it ends.
        distributed.destroy_process_group()


@contextmanager
def _default_signals() -> Iterator[None]:
    """SIGTERM and Ctrl-C end this process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
