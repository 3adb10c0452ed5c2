"""Where the processes of a pool work: one on each GPU of this machine, or each on a share of its CPU cores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from treg_exp.errors import FieldError

VISIBLE, THREADS = "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"
Devices = int | str | Sequence[int | str]


@dataclass(frozen=True)
class Slot:
    """A place for one process.

    Attributes:
        name: for the terminal.
        environment: variables of its process.
        has_gpu: whether the process must see a GPU, and only one.
    """

    name: str
    environment: Mapping[str, str]
    has_gpu: bool = False


def check_slots(devices: Devices, slots: int | None, patience: int, grace: float) -> None:
    """Refuse values of a pool that cannot work anywhere; looks at no device.

    Raises:
        FieldError: see above.
    """
    for name, value, least in (("patience", patience, 1), ("grace", grace, 0)):
        if value < least:
            raise FieldError(name, value, f"must be >= {least}")
    if slots is not None:
        if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
            raise FieldError("slots", slots, "must be >= 1: processes on the CPU; null for GPUs")
        if devices != "auto":
            raise FieldError("slots", slots, f"is for processes without a GPU, and devices={devices} names some")
        return
    if isinstance(devices, int) and not isinstance(devices, bool):
        if devices < 1:
            raise FieldError("devices", devices, "must be >= 1; slots=N makes N processes on the CPU")
    elif isinstance(devices, str):
        if devices != "auto":
            raise FieldError("devices", devices, "allowed are auto, a number, or a list of GPUs as [0,2]")
    elif isinstance(devices, bool) or not _is_list(devices):
        raise FieldError("devices", devices, "must be different GPUs: numbers from 0, or names of CUDA as GPU-...")


def find_slots(devices: Devices, slots: int | None) -> list[Slot]:
    """The slots of this machine, each with its share of the cores.

    Args:
        devices: ``auto`` for all visible GPUs, how many of them, or a list of their numbers or names.
        slots: as many processes on the CPU instead.

    Raises:
        FieldError: this machine does not have such GPUs.
    """
    if slots is not None:
        return [Slot(f"cpu {i}", {VISIBLE: "", **_threads(slots)}) for i in range(slots)]
    visible = visible_gpus()
    if not visible and (devices == "auto" or isinstance(devices, int)):
        raise FieldError("devices", devices, "this process sees no GPU; slots=N makes N processes on the CPU")
    names = _chosen(devices, visible)
    return [Slot(f"gpu {name}", {VISIBLE: name, **_threads(len(names))}, has_gpu=True) for name in names]


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA takes them: numbers, or what an outer variable says."""
    outer = os.environ.get(VISIBLE)
    if outer is None:
        import torch

        return [str(i) for i in range(torch.cuda.device_count())]
    names: list[str] = []
    for name in (part.strip() for part in outer.split(",")):
        if not name or name.startswith("-") or name in names:  # there CUDA stops, too
            break
        names.append(name)
    return names


def _chosen(devices: Devices, visible: Sequence[str]) -> list[str]:
    """The names of some of the visible GPUs."""
    if devices == "auto":
        return list(visible)
    seen = f"this process sees {len(visible)}: {', '.join(visible) or 'none'}"
    if isinstance(devices, int):
        if devices > len(visible):
            raise FieldError("devices", devices, seen)
        return list(visible[:devices])
    assert not isinstance(devices, str)
    names = []
    for device in devices:
        number = isinstance(device, int)
        if (number and device >= len(visible)) or (not number and VISIBLE in os.environ and device not in visible):  # type: ignore[operator]
            raise FieldError("devices", list(devices), seen)
        names.append(visible[device] if isinstance(device, int) else device)
    return names


def _is_list(devices: Sequence[int | str]) -> bool:
    known = all(isinstance(d, str) or (isinstance(d, int) and not isinstance(d, bool) and d >= 0) for d in devices)
    return known and 0 < len(set(devices)) == len(devices)


def _threads(processes: int) -> dict[str, str]:
    """Threads of each process, unless the user has said how many."""
    return {THREADS: os.environ.get(THREADS) or str(max(cores() // processes, 1))}


def cores() -> int:
    """Cores that this process may use: a cluster's job has a part of its machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
