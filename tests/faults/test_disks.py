"""Disks that are full, and folders that nobody may write."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults import imitated
from tests.faults.sweeps import Found, check_complete, check_sound, states, sweep_of, table
from tests.nursery import Nursery

SMALL = ["seed=1,2", "data.limit=2", "solver.steps=1"]


@pytest.mark.parametrize(
    "moments", [(2, 18), pytest.param(range(40), marks=pytest.mark.slow)], ids=["twice", "at every write"]
)
def test_a_disk_that_is_full(nursery: Nursery, tmp_path: Path, moments: Sequence[int]) -> None:
    """While it is planned, when a job begins, after some rows: what was written stays, and what ended says why."""
    folder, kept = tmp_path / "s", Found()
    told = 0
    for writes in moments:
        child = nursery.run(sweep_of(folder, *SMALL), before=[f"{imitated.__name__}:full_after", writes])
        if child.code == 0:
            break
        told += 1
        assert "o space left on device" in child.text
        assert "Traceback" not in child.text, child.text
        kept = check_sound(folder, kept, 1)
        check_told(folder, "No space left")
    print(f"full at {told} writes")
    assert told == len(moments) if len(moments) == 2 else told > 10
    assert kept
    assert nursery.run(sweep_of(folder, *SMALL)).code == 0
    check_sound(folder, kept, 1)
    check_complete(folder, 2, 2)


def check_told(folder: Path, error: str) -> None:
    """A job that has begun says what was wrong, as far as there was room for it."""
    for status in [line.status for line in table(folder)] if (folder / "sweep.json").is_file() else ():
        assert status.state in ("failed", "queued", "finished")
        assert (status.state == "failed") == (error in status.error), status


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts a file system")
def test_a_small_file_system(nursery: Nursery, tmp_path: Path) -> None:
    """A real one, of 1 MiB, with more and more room in it."""
    disk, kept = tmp_path / "disk", Found()
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True).returncode:
        pytest.skip("may not mount")
    folder, filler, codes = disk / "s", disk / "filler", []
    try:
        for room in range(0, 1000, 100):
            filler.write_bytes(bytes(max(2**20 - used(folder) - 1024 * room, 0)))
            child = nursery.run(sweep_of(folder, *SMALL))
            codes.append(child.code)
            assert "Traceback" not in child.text, child.text
            kept = check_sound(folder, kept, 1)
            check_told(folder, "No space left")
            filler.unlink()
            if not child.code:
                break
        print(f"exit codes with more and more room: {codes}")
        assert len(codes) > 3
        assert codes[-1] == 0
        check_complete(folder, 2, 2)
    finally:
        subprocess.run(["umount", disk], check=True)


def used(folder: Path) -> int:
    """Bytes of a folder, in blocks."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*"))


@pytest.mark.parametrize("what", ["the parent", "the sweep", "a job"])
def test_folders_that_nobody_may_write(nursery: Nursery, tmp_path: Path, what: str) -> None:
    """Permissions count for root, too, once it has given up its rights."""
    folder = tmp_path / "shared" / "s"
    command, rights = sweep_of(folder, *SMALL), [f"{imitated.__name__}:no_rights"]
    folder.parent.mkdir()
    locked = folder.parent
    if what != "the parent":
        assert nursery.run([*command, "+solver.nothing=1"]).code == 2  # plans, and begins nothing
        assert states(folder) == {"failed": 2}
        command.append("+solver.nothing=1")
        locked = folder if what == "the sweep" else table(folder)[0].folder
    before = stat.S_IMODE(locked.stat().st_mode)
    locked.chmod(0o555)
    try:
        child = nursery.run(command, before=rights)
    finally:
        locked.chmod(before)
    assert child.code in (1, 2), child.text
    assert "Traceback" not in child.text, child.text
    assert "error: " in child.text
    assert str(locked) in child.text
