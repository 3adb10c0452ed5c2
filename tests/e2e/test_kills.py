"""A run that is killed at random moments, again and again, until it is done: nothing is lost and nothing is doubled."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import DATA
from tests.nursery import Nursery
from treg_exp.files import whole
from treg_exp.run_layout import RECONSTRUCTION, RunLayout, key_of, picture, read_rows

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has imported torch")
COMMAND = [
    f"prior.path={DATA}/parity/tiny_model", "data.image_size=64", "null_text=off", "logger=csv", "experiment=single",
    "metrics=residual", "solver.steps=3", "data.limit=3", "draws=4", "data.batch_size=1", "trainer.accelerator=cpu",
]  # fmt: skip


def lines(folder: Path) -> list[str]:
    return [line for file in sorted((folder / "rows").glob("*")) for line in file.read_text().splitlines()]


def written(folder: Path) -> int:
    return sum(file.stat().st_size for file in (folder / "rows").glob("*"))


def wait_for(folder: Path, size: int, seconds: float) -> None:
    """Until there are more bytes of rows than this, and some time longer; or until the time is over."""
    end = time.monotonic() + 60
    while written(folder) <= size and time.monotonic() < end:
        time.sleep(0.005)
    time.sleep(seconds)


def stop_until_done(nursery: Nursery, folder: Path, signals: Sequence[int], *more: str) -> int:
    """Start the run again and again, stop it soon after each first new row; how often it was stopped in the middle."""
    dice, stopped = random.Random(str(signals)), 0
    kept: dict = {}
    for number in (*signals, 0):
        before = written(folder)
        child = nursery.start([*COMMAND, f"run_dir={folder}", *more])
        if number:
            wait_for(folder, before, dice.uniform(0, 0.12))
            child.stop(number)
        code = child.wait()
        assert code in (0, 130 if number == signal.SIGINT else -number), child.text
        stopped += code != 0
        rows = {key_of(row): row for row in read_rows(folder)}
        assert kept.items() <= rows.items()  # what was there stays, to the last digit
        layout = RunLayout(folder)
        assert all(whole(picture(layout.restoration(key, 4), RECONSTRUCTION)) for key in rows)
        kept = rows
        if not code:
            break
    return stopped


@pytest.mark.slow
@pytest.mark.parametrize(
    "signals", [[signal.SIGKILL] * 4, [signal.SIGINT, signal.SIGKILL]], ids=["killed", "interrupted too"]
)
def test_nothing_is_lost_and_nothing_is_doubled(nursery: Nursery, tmp_path: Path, signals: list[int]) -> None:
    folder = tmp_path / "r"
    assert stop_until_done(nursery, folder, signals) >= len(signals) // 2
    found = [key_of(json.loads(line)) for line in lines(folder) if line.startswith("{") and line.endswith("}")]
    assert len(found) == len(set(found)) == 12
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["finished"], status["failed"]) == ("finished", 12, 0)
    assert not list(folder.rglob("*.tmp"))
    assert (folder / "grid.png").is_file()
