"""Peak memory of a piece of work on a CPU: a new peak of the process, or nothing."""

from __future__ import annotations

import platform
import sys

import pytest
import torch

from treg_exp.engine import peak_memory
from treg_exp.engine.peak_memory import PeakMemory, begin_peak

CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_a_new_peak_of_the_process_is_told_and_nothing_else() -> None:
    before = peak_memory._resident_peak()
    assert before is not None
    memory = PeakMemory(CPU)
    big = torch.ones(int((before + 0.2) * 1e9 / 4))  # alone larger than all of the process has ever been
    found = memory.gigabytes
    del big
    assert found is not None
    assert found == pytest.approx(before + 0.2 + 0.2, abs=before)
    again = PeakMemory(CPU)
    torch.ones(1000)
    assert again.gigabytes is None, "the peak is that of earlier work"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_a_run_begins_a_peak_of_its_own() -> None:
    big = torch.ones(100_000_000)
    del big
    begin_peak()
    memory = PeakMemory(CPU)
    smaller = torch.ones(50_000_000)
    found, now = memory.gigabytes, peak_memory._resident_peak()
    assert smaller.numel() == 50_000_000
    assert found == now is not None
    assert 0.19 < found - memory._before < 0.3  # of it alone, though the earlier one was larger


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators give memory back by themselves")
def test_what_an_earlier_run_has_freed_hides_no_peak() -> None:
    """Blocks between others that are still in use stay with the allocator, until it is told to give them back."""
    blocks = [torch.ones(4096) for _ in range(20_000)]  # 330 MB
    kept = blocks[::50]
    del blocks
    begin_peak()
    memory = PeakMemory(CPU)
    smaller = torch.ones(25_000_000)
    assert memory.gigabytes is not None
    assert memory.gigabytes - memory._before > 0.09
    assert len(kept) == 400
    assert smaller.numel() == 25_000_000


def test_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(peak_memory, "_STATUS", tmp_path / "none")
    assert PeakMemory(CPU).gigabytes is None
    assert PeakMemory(torch.device("meta")).gigabytes is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_tells_that_of_every_batch() -> None:
    device = torch.device("cuda")
    found = []
    for size in (64, 8):
        memory = PeakMemory(device)
        torch.ones(size * 2**18, device=device)
        found.append(memory.gigabytes)
    assert found[0] - found[1] == pytest.approx(56 * 2**20 / 1e9, rel=0.1)
