"""Loggers whose service does not answer, or that cannot write: the runs go on, and soon."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.faults import imitated
from tests.faults.sweeps import check_complete, sweep_of
from tests.nursery import Nursery

SMALL = ["seed=1,2", "data.limit=1", "solver.steps=1"]


def seconds_of_runs(folder: Path) -> list[float]:
    return sorted(json.loads(file.read_text())["seconds"] for file in folder.glob("*/status.json"))


@pytest.mark.slow
def test_a_server_of_wandb_that_does_not_answer(nursery: Nursery, tmp_path: Path) -> None:
    """It is waited for once, not in every job; and what it was to be told is kept for a later upload."""
    folder = tmp_path / "s"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        values = {
            "WANDB_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}", "WANDB_API_KEY": "0" * 40,
            "WANDB_MODE": "online", "no_proxy": "127.0.0.1",
        }  # fmt: skip
        online = ["logger=wandb", "logger.wandb.mode=online", "logger.wandb.patience=1"]
        command = sweep_of(folder, *SMALL, *online)
        child = nursery.run(command, before=[f"{imitated.__name__}:environment", values])
    assert child.code == 0, child.text
    check_complete(folder, 2, 1)
    assert child.text.count("W&B: runs are kept offline from now on") == 1
    assert len(list(folder.glob("*/wandb/offline-run-*"))) == 2
    quick, slow = seconds_of_runs(folder)
    assert slow - quick > 0.5
    assert slow < 60


CSV = "+logger.mine._target_=lightning.pytorch.loggers.CSVLogger"


@pytest.mark.parametrize(
    ("logger", "fault"),
    [
        (CSV, ["broken_logger"]),
        ("logger=wandb", ["environment", {"WANDB_RUN_ID": "", "WANDB_DATA_DIR": "/dev/null"}]),
    ],
    ids=["Lightning", "W&B"],
)
def test_a_logger_that_cannot_write(nursery: Nursery, tmp_path: Path, logger: str, fault: list) -> None:
    folder = tmp_path / "s"
    before = [f"{imitated.__name__}:{fault[0]}", *fault[1:]]
    child = nursery.run(sweep_of(folder, *SMALL[1:], logger), before=before)
    assert child.code == 0, child.text
    check_complete(folder, 1, 1)
    assert "Traceback" not in child.text
    assert "is off for the rest of this run (results stay)" in child.text
