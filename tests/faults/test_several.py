"""Several processes at one sweep, and a sweep that is deleted under their feet."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.faults.sweeps import check_complete, check_sound, found_rows, states, sweep_of
from tests.nursery import Nursery
from treg_exp.errors import ConfigError


def wait_until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_several_starts_share_the_jobs(nursery: Nursery, tmp_path: Path) -> None:
    """Each job is done once, by whoever comes first, and all end well."""
    folder, workers = tmp_path / "s", 3
    command = sweep_of(folder, "seed=range(4)", "data.limit=2", "solver.steps=1")
    children = [nursery.start(command) for _ in range(workers)]
    codes = [child.wait() for child in children]
    assert codes == [0] * workers, "\n".join(child.text for child in children)
    check_sound(folder, {}, 1)
    check_complete(folder, 4, 2)
    # Who looks at a job in the very moment in which another one finishes it finds nothing to do there.
    made = [child.text.count("results: ") - child.text.count("nothing to do: ") for child in children]
    assert sum(made) == 4, made
    pids = [json.loads(file.read_text())["pid"] for file in folder.glob("*/status.json")]
    assert set(pids) <= {child.pid for child in children}
    assert not any("Traceback" in child.text for child in children)
    assert not any("damaged" in child.text for child in children)


def test_a_worker_that_dies_leaves_its_job_to_the_others(nursery: Nursery, tmp_path: Path) -> None:
    """The other one ends with what it could do; the same command does the rest."""
    folder = tmp_path / "s"
    command = sweep_of(folder, "seed=range(2)", "data.limit=2", "draws=4")
    first = nursery.start(command)
    wait_until(lambda: found_rows(folder))
    first.stop(signal.SIGSTOP)
    second = nursery.start(command)
    wait_until(lambda: states(folder)["running"] == 2 or states(folder)["finished"])
    assert states(folder)["running"] >= 1  # it stands still and still holds its job
    first.stop(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert states(folder)["stale"] == 1
    assert "error: " not in first.text
    kept = check_sound(folder, {}, 4)
    assert second.wait() == 1, second.text  # it says what is missing
    assert "error: stale: " in second.text
    assert states(folder) == {"stale": 1, "finished": 1}
    assert nursery.run(command).code == 0
    check_sound(folder, kept, 4)
    check_complete(folder, 2, 8)


def test_a_sweep_that_is_deleted_ends_in_one_line(nursery: Nursery, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    child = nursery.start(sweep_of(folder, "seed=range(3)", "data.limit=3", "draws=4"))
    wait_until(lambda: len(found_rows(folder)) > 1)
    while folder.exists():  # a picture that is written meanwhile makes its folder anew
        shutil.rmtree(folder.rename(tmp_path / "deleted"))  # at once: the sweep must not end between two files
    assert child.wait() == 1, child.text
    assert f"error: {folder} was deleted while the sweep ran" in child.text
    assert "Traceback" not in child.text
    assert not list(folder.rglob("*.json")), list(folder.rglob("*"))
    with pytest.raises(ConfigError):
        states(folder)


@pytest.mark.slow
def test_a_job_that_is_deleted_is_planned_and_made_anew(nursery: Nursery, tmp_path: Path) -> None:
    """In the middle it costs this job alone; to delete its folder is the way to make one anew."""
    folder = tmp_path / "s"
    command = sweep_of(folder, "seed=range(2)", "data.limit=2", "draws=4")
    child = nursery.start(command)
    wait_until(lambda: len(found_rows(folder)) > 1)
    (job,) = {folder / name for name, _ in found_rows(folder)}
    while job.exists():
        shutil.rmtree(job, ignore_errors=True)
    assert child.wait() == 1, child.text
    assert f"error: run_dir={job} was deleted while the run wrote into it" in child.text
    assert states(folder) == {"queued": 1, "finished": 1}
    kept = check_sound(folder, {}, 4)
    again = nursery.run(command)
    assert again.code == 0, again.text
    assert check_sound(folder, kept, 4).keys() > kept.keys()
    check_complete(folder, 2, 8)
