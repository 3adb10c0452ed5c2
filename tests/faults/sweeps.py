"""A small sweep, and what has to hold of its folder at every moment, whatever happened."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tests.conftest import DATA
from treg_exp.files import whole
from treg_exp.run_layout import RECONSTRUCTION, Key, RunLayout, key_of, picture, read_rows, rows_in
from treg_exp.sweeps.overview import Line, lines

TINY = [
    f"prior.path={DATA}/parity/tiny_model", "data.image_size=64", "null_text=off", "text_match=off", "logger=csv",
    "experiment=single", "metrics=residual", "solver.steps=2", "data.batch_size=1", "trainer.accelerator=cpu",
]  # fmt: skip
Found = dict[tuple[str, Key], dict[str, Any]]  # (job, key) -> row


def sweep_of(folder: Path, *overrides: str) -> list[str]:
    """The command of a sweep."""
    return ["-m", *TINY, *overrides, f"run_dir={folder}"]


def found_rows(folder: Path) -> Found:
    """The rows of all jobs."""
    jobs = [child for child in folder.iterdir() if child.is_dir()] if folder.is_dir() else []
    return {(job.name, key_of(row)): row for job in jobs for row in read_rows(job)}


def states(folder: Path) -> Counter[str]:
    """How many jobs are in each state, as `treg-exp status` says."""
    return Counter(line.status.state for line in table(folder))


def table(folder: Path) -> list[Line]:
    """What `treg-exp status` shows."""
    return lines(folder)


def check_sound(folder: Path, kept: Found, draws: int) -> Found:
    """No row is lost or another one than before, none is there twice, each has its picture, every file can be read.

    Returns:
        The rows.
    """
    found = found_rows(folder)
    lost = kept.keys() - found.keys()
    assert not lost, lost
    assert all(found[key] == row for key, row in kept.items())
    for file in folder.glob("*/rows/*.jsonl"):
        keys = [key_of(row) for row in rows_in(file.read_bytes().splitlines())]
        assert len(keys) == len(set(keys)), file
    for job, key in found:
        assert whole(picture(RunLayout(folder / job).restoration(key, draws), RECONSTRUCTION)), (job, key)
    for file in [*folder.glob("sweep.json"), *folder.glob("*/status.json"), *folder.glob("*/identity.json")]:
        assert isinstance(json.loads(file.read_text()), dict), file
    for file in [*folder.glob("*/job.yaml"), *folder.glob("*/config.yaml")]:
        assert OmegaConf.load(file), file
    return found


def check_complete(folder: Path, jobs: int, restorations: int) -> None:
    """All is there exactly once, and every job says that it is finished."""
    assert states(folder) == {"finished": jobs}
    for line in table(folder):
        assert (line.status.expected, line.status.finished, line.status.failed) == (restorations, restorations, 0)
        assert line.status.exit_code == 0
        assert not line.status.error
    for job in (line.folder for line in table(folder)):
        rows = [row for file in (job / "rows").glob("*") for row in file.read_text().splitlines()]
        keys = [key_of(json.loads(row)) for row in rows if row.startswith("{") and row.endswith("}")]
        assert len(keys) == len(set(keys)) == restorations
        assert (job / "grid.png").is_file()
        assert (job / "summary.json").is_file()
    assert not list(folder.rglob("*.tmp")), list(folder.rglob("*.tmp"))
