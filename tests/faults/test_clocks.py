"""Clocks that are set while a sweep runs, and runs of other machines, of which nothing but their last sign is known."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.faults import imitated
from tests.faults.sweeps import check_complete, check_sound, found_rows, states, sweep_of, table
from tests.nursery import Nursery
from treg_exp.engine.status import HEARTBEAT, STALE_AFTER, read_status
from treg_exp.sweeps.overview import seconds_left

SMALL = ["data.limit=2", "solver.steps=1"]


def test_rates_do_not_depend_on_a_clock_that_is_set(nursery: Nursery, tmp_path: Path) -> None:
    """By 400 days, back and forth at every look."""
    folder, began = tmp_path / "s", time.monotonic()
    child = nursery.run(sweep_of(folder, "seed=1", *SMALL), before=[f"{imitated.__name__}:clock_that_jumps", 400])
    took = time.monotonic() - began
    assert child.code == 0, child.text
    check_complete(folder, 1, 2)
    (line,) = table(folder)
    assert 0 < line.status.seconds < took
    assert 2 / took < line.rate < 100
    assert seconds_left([line]) == 0
    status = json.loads((line.folder / "status.json").read_text())
    assert {status["started"][:4], status["updated"][:4]} != {time.strftime("%Y")}  # it has seen such times
    assert all(0 <= row["seconds"] < took for row in found_rows(folder).values())


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (0, "running"),
        (STALE_AFTER - 2 * HEARTBEAT, "running"),
        (STALE_AFTER + 1, "stale"),
        (86400 * 365, "stale"),
        (-2 * HEARTBEAT, "running"),  # the clock of the file system was corrected a little
        (-86400 * 365, "stale"),  # it was set back by a year
    ],
)
def test_a_run_of_another_machine_is_as_good_as_its_last_sign(tmp_path: Path, age: float, state: str) -> None:
    """By the file system's clock alone: this machine's, and what the status says of the time, do not count."""
    said = {
        "state": "running",
        "host": "elsewhere",
        "expected": 4,
        "finished": 1,
        "updated": "1970-01-01T00:00:00+0000",
    }
    file = tmp_path / "status.json"
    file.write_text(json.dumps(said))
    os.utime(file, (time.time() - age,) * 2)
    assert read_status(tmp_path).state == state
    assert sorted(each.name for each in tmp_path.iterdir()) == ["status.json"]


def test_a_job_of_another_machine_is_left_alone_until_it_is_silent(nursery: Nursery, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    command = sweep_of(folder, "seed=1,2", *SMALL)
    assert nursery.run([*command, "+solver.nothing=1"]).code == 2  # plans two jobs and begins none
    first, second = (line.folder / "status.json" for line in table(folder))
    command.append("+solver.nothing=1")
    for file in (first, second):
        said = json.loads(file.read_text()) | {"state": "running", "host": "elsewhere", "pid": 1}
        file.write_text(json.dumps(said))
    os.utime(second, (time.time() - 2 * STALE_AFTER,) * 2)
    assert states(folder) == {"running": 1, "stale": 1}
    before = first.read_text()
    child = nursery.run(command)
    assert child.code == 2
    assert states(folder) == {"running": 1, "failed": 1}
    assert first.read_text() == before
    check_sound(folder, {}, 1)
