"""Which devices a run uses, on machines that this one is not."""

from __future__ import annotations

import pytest

from treg_exp.engine.devices import TrainerSettings
from treg_exp.engine.launcher import Place
from treg_exp.errors import FieldError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def has(gpus: int, mps: bool = False) -> None:
        monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
        monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)

    return has


@pytest.mark.parametrize(
    ("accelerator", "devices", "gpus", "of_each_process"),
    [
        ("auto", 2, 4, [[0], [1]]),
        ("auto", "auto", 3, [[0], [1], [2]]),
        ("auto", "auto", 0, [1]),
        ("cpu", "auto", 3, [1]),
        ("cpu", 2, 3, [1, 1]),
        ("cuda", [2, 0], 3, [[2], [0]]),
        ("gpu", [1], 2, [[1]]),
    ],
)
def test_each_process_has_a_device_of_its_own(machine, accelerator, devices, gpus, of_each_process) -> None:
    machine(gpus)
    settings = TrainerSettings(accelerator, devices)
    settings.check(Place())
    assert [settings.device(rank) for rank in range(settings.processes(Place()))] == of_each_process


def test_auto_takes_what_a_launcher_has_started(machine) -> None:
    machine(0)
    assert TrainerSettings(devices="auto", num_nodes=2).processes(Place(1, 8)) == 4


def test_an_apple_gpu_is_one_device(machine) -> None:
    machine(0, mps=True)
    for accelerator in ("mps", "gpu", "auto"):
        TrainerSettings(accelerator).check(Place())
        assert TrainerSettings(accelerator).device(0) == 1
    with pytest.raises(FieldError, match="an Apple GPU is a single device"):
        TrainerSettings("mps", 2).check(Place())


@pytest.mark.parametrize(
    ("accelerator", "devices", "gpus", "place", "told"),
    [
        ("auto", 3, 2, Place(), "devices=3: this process sees 2 GPUs; several processes cannot share one"),
        ("auto", 2, 1, Place(1, 2, 1), "devices=2: this process sees 1 GPU; several.*; with Slurm, --gres=gpu:N shows"),
        ("auto", [0, 2], 2, Place(), r"devices=\[0, 2\]: a list names GPUs, from 0; this process sees 2 GPUs"),
        ("cpu", [0], 2, Place(), r"devices=\[0\]: a list names GPUs, from 0; this process sees 0 GPUs"),
        ("gpu", 1, 0, Place(), "accelerator=gpu: this machine has no GPU that torch can use; try cpu"),
        ("mps", 1, 0, Place(), "accelerator=mps: this machine has no Apple GPU; allowed here: auto, cpu"),
    ],
)
def test_devices_that_are_not_there(machine, accelerator, devices, gpus, place, told) -> None:
    machine(gpus)
    with pytest.raises(FieldError, match=f"^{told}"):
        TrainerSettings(accelerator, devices).check(place)


@pytest.mark.parametrize(
    ("devices", "told"),
    [
        (0, "devices=0: must be >= 1; auto is one process per GPU"),
        ("all", "devices=all: allowed are a number, auto, or a list"),
        *((value, "must be different numbers of GPUs") for value in ([], [0, 0], [-1], [0.5], [True])),
    ],
)
def test_devices_that_mean_nothing(devices, told: str) -> None:
    with pytest.raises(FieldError, match=told):
        TrainerSettings(devices=devices)
