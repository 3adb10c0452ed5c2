"""Processes that torchrun, srun or the like has started: which one this is, and where they meet."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

from treg_exp.engine.processes import POLL_SECONDS
from treg_exp.errors import ConfigError, RunFailedError

FIRST_WAIT = timedelta(minutes=30)  # for all to come
LONGEST_WAIT = timedelta(days=7)  # of processes that are done for those that are not
TORCH = ("RANK", "WORLD_SIZE", "LOCAL_RANK")  # a launcher sets all; single ones are left over from something else
MPI = ("OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "PMI_SIZE")
_meetings = count()  # of the jobs of a multirun, which all processes walk through alike


@dataclass(frozen=True)
class Place:
    """Which process of a run this one is.

    Attributes:
        rank: its number in the run; 0 opens the run folder, writes the status and concludes.
        world: number of processes.
        local_rank: its number on this machine.
        meeting: URL where processes that a launcher has started find each other; empty where none has.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    meeting: str = ""


def launched() -> Place:
    """The place that torchrun, srun or LSF gives to this process.

    A launcher that has started this one only does not count: the run may then start further ones itself. Nor does a
    Slurm job that has reserved several tasks and did not start them with srun.

    Raises:
        ConfigError: what the launcher says in the environment is incomplete, or it is one that we cannot follow.
    """
    from lightning.fabric.plugins.environments import LSFEnvironment, TorchElasticEnvironment

    environment: Any
    try:
        if set(TORCH) <= set(os.environ):
            environment = TorchElasticEnvironment()
        elif "SLURM_STEP_NUM_TASKS" in os.environ and int(os.environ["SLURM_STEP_NUM_TASKS"]) > 1:
            return _slurm_place(os.environ)
        elif LSFEnvironment.detect():
            environment = LSFEnvironment()
        elif several := [name for name in MPI if int(os.environ.get(name, 1)) > 1]:
            raise ConfigError(
                f"trainer: mpirun has started {os.environ[several[0]]} processes, which cannot share a run; "
                "start them with torchrun or srun, or one with trainer.devices=N"
            )
        else:
            return Place()
        rank, world = environment.global_rank(), environment.world_size()
        if world == 1:
            return Place()
        meeting = f"tcp://{environment.main_address}:{environment.main_port}"
        return Place(rank, world, environment.local_rank(), meeting)
    except ConfigError:
        raise
    except (RuntimeError, ValueError, KeyError) as error:
        told = f"{error} is not set" if isinstance(error, KeyError) else error
        raise ConfigError(f"trainer: the launcher of this process: {told}") from None


def _slurm_place(environment: Mapping[str, str]) -> Place:
    """Of a process that srun has started. Lightning's own reading wants ``--ntasks-per-node``, too."""
    from lightning.fabric.plugins.environments import SLURMEnvironment

    nodes = environment.get("SLURM_STEP_NODELIST") or environment["SLURM_NODELIST"]
    address = environment.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(nodes)
    step = int(environment.get("SLURM_STEP_ID", 0))  # steps of one job may run beside each other
    port = environment.get("MASTER_PORT") or 15000 + (int(environment["SLURM_JOB_ID"]) + 101 * step) % 10_000
    rank, world, local = (int(environment[f"SLURM_{name}"]) for name in ("PROCID", "STEP_NUM_TASKS", "LOCALID"))
    return Place(rank, world, local, f"tcp://{address}:{port}")


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


@contextmanager
def meeting(place: Place, begin: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Where processes that a launcher has started wait for each other.

    At the start, because the first one opens the run folder and says what is to be done. At the end, because it then
    reads the rows of all. It is a process group and no file: a group notices that another process is lost.

    Args:
        place: of this process; where no launcher has started others there is nothing to wait for.
        begin: called in the first process, while the others wait. What it raises ends them, too.

    Raises:
        RunFailedError: another process is lost, or did not come.
    """
    if not place.meeting:
        begin()
        yield
        return
    from torch import distributed

    if place.rank == 0:
        print(f"waiting for {place.world - 1} more of the launcher's processes", file=sys.stderr, flush=True)
    try:
        with _default_signals():  # no handler in Python would run before the last process has come
            _join(place)
    except RuntimeError as error:
        raise RunFailedError(f"not all {place.world} processes have come to {place.meeting}: {_first(error)}") from None
    try:
        if place.rank == 0:
            begin()
        _wait_for_all("the first process of the run could not begin, see what it says")
        yield
        _wait_for_all("another process of the run is lost; the same command continues with what is missing")
    finally:
        # The next job of a multirun makes its own; and the group's threads may want the interpreter while it ends.
        distributed.destroy_process_group()


def _join(place: Place) -> None:
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous(place.meeting, place.rank, place.world, timeout=FIRST_WAIT))
    store = PrefixStore(f"meeting {next(_meetings)}", store)  # torchrun's keeps what earlier ones wrote
    distributed.init_process_group("gloo", store=store, rank=place.rank, world_size=place.world, timeout=LONGEST_WAIT)


def _wait_for_all(otherwise: str) -> None:
    """Wait, so that SIGTERM and Ctrl-C still reach this process.

    Raises:
        RunFailedError: one of them is lost; with what to say ``otherwise``.
    """
    from torch import distributed

    barrier = distributed.barrier(async_op=True)
    while not barrier.is_completed():
        time.sleep(POLL_SECONDS)
    try:
        barrier.wait()
    except RuntimeError as error:
        raise RunFailedError(f"{otherwise} ({_first(error)})") from None


def _first(error: RuntimeError) -> str:
    """Its first line without places in torch's code and advice about it; torch adds the addresses of its functions."""
    line = str(error).partition("\n")[0].strip()
    return re.sub(r"^\[\S+:\d+\] |\. This is typically caused by.*", "", line)


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
