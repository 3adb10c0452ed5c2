"""What the status of a sweep's job says of how it ended."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.engine.plans import plan_of
from treg_exp.engine.outcome import recorded
from treg_exp.engine.run_folder import RunFolder
from treg_exp.engine.status import here, write_status
from treg_exp.errors import ConfigError, RunBusyError, RunFailedError


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "job.yaml").write_text("seed: 1\n")
    return tmp_path


def end(job: Path, error: BaseException | None) -> dict[str, Any]:
    """The status after something that ended so."""
    with nullcontext() if error is None else pytest.raises(type(error)), recorded(job):
        if error is not None:
            raise error
    file = job / "status.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


@pytest.mark.parametrize(
    ("error", "state", "code", "told"),
    [
        (None, "finished", 0, ""),
        (ConfigError("seed=x: no"), "failed", 2, "seed=x: no"),
        (RunFailedError("1 of 2 failed"), "failed", 1, "1 of 2 failed"),
        (TypeError("mistake"), "failed", 1, "TypeError: mistake"),
        (MemoryError(), "failed", 1, "MemoryError"),
        (SystemExit(0), "failed", 1, "SystemExit: 0"),
        (KeyboardInterrupt(), "interrupted", 130, ""),
    ],
)
def test_every_end(job: Path, error: BaseException | None, state: str, code: int, told: str) -> None:
    found = end(job, error)
    assert (found["state"], found["exit_code"], found["error"]) == (state, code, told)


def test_what_was_wrong_before_is_forgotten(job: Path) -> None:
    end(job, RunFailedError("1 of 2 failed"))
    assert end(job, None)["error"] == ""


def test_a_refused_start_changes_nothing_of_what_others_do_or_have_done(job: Path) -> None:
    end(job, None)
    assert end(job, ConfigError("holds a run with seed=1"))["state"] == "finished"
    assert end(job, TypeError("mistake"))["state"] == "failed"
    assert end(job, RunBusyError("busy"))["error"] == "TypeError: mistake"
    running = RunFolder(job, plan_of("a"))
    running.open({}, {"seed": 1})
    write_status(job, {"state": "running", **here(), "pid": 1})
    assert end(job, ConfigError("this machine has no GPU"))["state"] == "running"
    running.close()  # it has died
    assert end(job, ConfigError("this machine has no GPU"))["state"] == "failed"


def test_of_a_folder_that_is_no_job_or_was_deleted_nothing_is_written(tmp_path: Path) -> None:
    assert end(tmp_path, None) == {}
    assert end(tmp_path / "gone", TypeError("mistake")) == {}
    assert not (tmp_path / "gone").exists()
