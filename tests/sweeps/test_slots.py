"""Which GPUs a pool takes, and what their processes are told; no GPU is needed for that."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.sweeps.local.slots import check_slots, find_slots


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four GPUs and sixteen cores."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr("treg_exp.sweeps.local.slots.cores", lambda: 16)


def gpus(devices: Any) -> list[str]:
    slots = find_slots(devices, None)
    assert all(slot.has_gpu and slot.name == f"gpu {slot.environment['CUDA_VISIBLE_DEVICES']}" for slot in slots)
    return [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots]


def test_gpus_of_a_machine() -> None:
    assert gpus("auto") == ["0", "1", "2", "3"]
    assert gpus(2) == ["0", "1"]
    assert gpus([2, 0]) == ["2", "0"]
    assert gpus(["MIG-1b2c", "GPU-7"]) == ["MIG-1b2c", "GPU-7"]


@pytest.mark.parametrize(
    ("outer", "visible"),
    [
        ("3,1", ["3", "1"]),
        ("GPU-8f2e, GPU-11aa", ["GPU-8f2e", "GPU-11aa"]),
        ("MIG-1b2c,MIG-3d4e", ["MIG-1b2c", "MIG-3d4e"]),
        ("2,-1,3", ["2"]),
        ("2,2", ["2"]),
    ],
)
def test_an_outer_variable_is_respected(outer: str, visible: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", outer)
    assert gpus("auto") == visible
    assert gpus(1) == visible[:1]
    assert gpus([len(visible) - 1]) == visible[-1:]
    assert gpus(visible[-1:]) == visible[-1:]
    for wrong in (len(visible) + 1, [len(visible)], ["GPU-another"]):
        with pytest.raises(FieldError, match=f"this process sees {len(visible)}: {', '.join(visible)}"):
            find_slots(wrong, None)


@pytest.mark.parametrize("outer", ["", "-1"])
def test_without_a_gpu_nobody_falls_back_to_the_cpu_unasked(outer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", outer)
    for devices in ("auto", 1, [0]):
        with pytest.raises(FieldError, match=r"^devices=.*: this process sees (no GPU; slots=N makes N|0: none)"):
            find_slots(devices, None)
    assert len(find_slots("auto", 3)) == 3


def test_threads_are_shared_unless_the_user_has_said_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = [
        find_slots(*given)[0].environment["OMP_NUM_THREADS"] for given in (("auto", None), ("auto", 3), (1, None))
    ]
    assert threads == ["4", "5", "16"]
    assert find_slots("auto", 50)[49].environment["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert find_slots("auto", 16)[0].environment["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("devices", {"devices": 0}),
        ("devices", {"devices": True}),
        ("devices", {"devices": "all"}),
        ("devices", {"devices": []}),
        ("devices", {"devices": [0, 0]}),
        ("devices", {"devices": [-1]}),
        ("devices", {"devices": [True]}),
        ("slots", {"slots": 0}),
        ("slots", {"slots": True}),
        ("slots", {"slots": 2, "devices": 1}),
        ("patience", {"patience": 0}),
        ("grace", {"grace": -1.0}),
    ],
)
def test_what_names_no_slots_is_refused(field: str, values: dict[str, Any]) -> None:
    given = {"devices": "auto", "slots": None, "patience": 3, "grace": 30.0} | values
    with pytest.raises(FieldError) as caught:
        check_slots(**given)
    assert caught.value.field == field
    check_slots("auto", None, 1, 0.0)
