"""Which devices a run uses, one per process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from treg_exp.engine.launcher import Place
from treg_exp.errors import FieldError

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")


@dataclass(frozen=True)
class TrainerSettings:
    """Devices and processes.

    Attributes:
        accelerator: ``auto``, ``cpu``, ``gpu``, ``cuda`` or ``mps``.
        devices: processes on this machine, one device each; ``auto`` for one per GPU (or as many as a launcher has
            started); or the numbers of the GPUs, as ``[0,2]``.
        num_nodes: machines.
    """

    accelerator: str = "auto"
    devices: int | str | Sequence[int] = 1
    num_nodes: int = 1

    def __post_init__(self) -> None:
        if self.accelerator not in ACCELERATORS:
            raise FieldError("accelerator", self.accelerator, f"allowed are {', '.join(ACCELERATORS)}")
        if self.num_nodes < 1:
            raise FieldError("num_nodes", self.num_nodes, "must be >= 1")
        if isinstance(self.devices, int):
            if self.devices < 1:
                raise FieldError("devices", self.devices, "must be >= 1; auto is one process per GPU")
        elif isinstance(self.devices, str):
            if self.devices != "auto":
                raise FieldError("devices", self.devices, "allowed are a number, auto, or a list of GPUs as [0,1]")
        elif not self._is_list_of_gpus:
            raise FieldError("devices", list(self.devices), "must be different numbers of GPUs, from 0, as [0,1]")

    @property
    def _is_list_of_gpus(self) -> bool:
        numbers = self.numbers or []
        whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers)
        return whole and 0 < len(numbers) == len(set(numbers))

    @property
    def numbers(self) -> list[int] | None:
        """The GPUs that the setting names; None where it names none."""
        return None if isinstance(self.devices, int | str) else list(self.devices)

    @property
    def gpus(self) -> int:
        """GPUs of CUDA that this process sees and may use."""
        import torch

        return torch.cuda.device_count() if self.accelerator in ("auto", "gpu", "cuda") else 0

    def processes(self, place: Place) -> int:
        """Processes on each machine.

        Args:
            place: what a launcher says.
        """
        if self.numbers is not None:
            return len(self.numbers)
        if isinstance(self.devices, int):
            return self.devices
        return max(self.gpus, 1) if place.world == 1 else max(place.world // self.num_nodes, 1)

    def check(self, place: Place) -> None:
        """Find out before anything is written whether each process gets a device.

        Raises:
            FieldError: this machine does not have them.
        """
        import torch

        gpus, mps = self.gpus, torch.backends.mps.is_available()
        if (self.accelerator == "cuda" and not gpus) or (self.accelerator == "gpu" and not (gpus or mps)):
            raise FieldError("accelerator", self.accelerator, "this machine has no GPU that torch can use; try cpu")
        if self.accelerator == "mps" and not mps:
            raise FieldError("accelerator", self.accelerator, "this machine has no Apple GPU; allowed here: auto, cpu")
        named = f"this process sees {gpus} GPU{'s' * (gpus != 1)}"
        if self.numbers is not None and max(self.numbers) >= gpus:
            raise FieldError("devices", self.numbers, f"a list names GPUs, from 0; {named}")
        wanted = place.local_rank + 1 if place.world > 1 else self.processes(place)
        if gpus and wanted > gpus:
            hint = "; with Slurm, --gres=gpu:N shows every process all GPUs" if place.world > 1 else ""
            raise FieldError("devices", self.devices, f"{named}; several processes cannot share one{hint}")
        if self.accelerator == "mps" and wanted > 1:
            raise FieldError("devices", self.devices, "an Apple GPU is a single device; use 1")

    def device(self, local_rank: int) -> int | list[int]:
        """What Lightning calls the devices of one process: a GPU by its number, or the single other device."""
        if not self.gpus:
            return 1
        return [local_rank if self.numbers is None else self.numbers[local_rank]]
