"""A sweep that is killed at random moments, again and again, until it is done."""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.faults import imitated
from tests.faults.sweeps import Found, check_complete, check_sound, states, sweep_of, table
from tests.nursery import Child, Nursery
from treg_exp.errors import ConfigError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has imported torch")


def size(folder: Path) -> int:
    """Bytes of all rows."""
    return sum(file.stat().st_size for file in folder.glob("*/rows/*"))


def wait_for_news(folder: Path, child: Child, before: int, seconds: float) -> None:
    """Until there is a new row, and some time longer."""
    end = time.monotonic() + 60
    while size(folder) <= before and time.monotonic() < end and not over(child):
        time.sleep(0.005)
    time.sleep(seconds)


def over(child: Child) -> bool:
    """Whether it has ended; it stays a zombie until it is waited for."""
    return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def after_stop(folder: Path) -> set[str]:
    """States right after a kill; none before there is a manifest."""
    try:
        return set(states(folder))
    except ConfigError:
        return set()


@pytest.mark.parametrize(
    ("signals", "jobs", "draws"),
    [
        pytest.param([signal.SIGKILL] * 4 + [signal.SIGTERM, signal.SIGINT], 2, 7, id="six times"),
        pytest.param([signal.SIGKILL] * 50, 5, 24, id="fifty times", marks=pytest.mark.slow),
        pytest.param([signal.SIGTERM, signal.SIGKILL, signal.SIGINT] * 6, 3, 16, id="mixed", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_lost_and_nothing_is_doubled(
    nursery: Nursery, tmp_path: Path, signals: list[signal.Signals], jobs: int, draws: int
) -> None:
    """Each time soon after the first new row, at a random moment; right after that the folder tells the truth."""
    folder, dice = tmp_path / "s", random.Random(len(signals))
    command = sweep_of(folder, f"seed=range({jobs})", "data.limit=2", f"draws={draws}")
    kept: Found = {}
    counted = []
    for number in signals:
        child = nursery.start(command)
        wait_for_news(folder, child, size(folder), dice.uniform(0, 0.08))
        child.stop(number)
        code = child.wait()
        if code == 0:  # it was done before
            break
        assert code == (-number if number == signal.SIGKILL else 130), child.text
        seen = after_stop(folder)
        assert "running" not in seen
        assert "failed" not in seen
        found = check_sound(folder, kept, draws)
        counted.append(len(found) - len(kept))
        kept = found
        now = sum(line.status.finished for line in table(folder))
        assert now <= len(kept)  # a status may lag behind its rows, and never tells of more
    print(f"stopped {len(counted)} times, with {counted} new rows")
    assert len(counted) >= len(signals) - 1
    child = nursery.run(command)
    assert child.code == 0, child.text
    check_sound(folder, kept, draws)
    check_complete(folder, jobs, 2 * draws)


def test_a_sweep_that_is_killed_while_it_is_planned(nursery: Nursery, tmp_path: Path) -> None:
    """Before and after each file of the planning gets its name; nothing half planned stays in the way."""
    folder, command = tmp_path / "s", sweep_of(tmp_path / "s", "seed=range(2)", "data.limit=1", "solver.steps=1")
    for number in range(1, 10):
        before = [f"{imitated.__name__}:die_at_write", number, bool(number % 2)]
        assert nursery.run(command, before=before).code == -signal.SIGKILL
        assert after_stop(folder) <= {"queued"}
        check_sound(folder, {}, 1)
        if (folder / "sweep.json").is_file():
            break
    assert number >= 3
    assert states(folder) == {"queued": 2}
    assert nursery.run(command).code == 0
    check_complete(folder, 2, 1)


@pytest.mark.slow
def test_a_job_that_is_killed_at_each_of_its_writes(nursery: Nursery, tmp_path: Path) -> None:
    folder, command = tmp_path / "s", sweep_of(tmp_path / "s", "seed=1", "data.limit=2", "draws=2")
    kept: Found = {}
    killed = 0
    for number in range(1, 100):
        child = nursery.run(command, before=[f"{imitated.__name__}:die_at_write", number, bool(number % 2)])
        if child.code == 0:
            break
        assert child.code == -signal.SIGKILL, child.text
        killed += 1
        kept = check_sound(folder, kept, 2)
        assert "running" not in after_stop(folder)
    print(f"killed at {killed} writes")
    assert killed > 10
    check_complete(folder, 1, 4)
