"""Where the files of a run are, and what identifies a restoration. Nothing else knows these names.

    job.yaml  log.txt  trial.json                      of a job of a sweep; the last of a search
    config.yaml  identity.json  prior_files.json  environment.json  columns.json  status.json  .lock
    rows/rank-0.jsonl  failures/rank-0.jsonl           one line per restoration, a file per process
    samples/<sample_id>/target.*  measurement.*  pseudo_inverse.* or preview.*
    samples/<sample_id>/<variant>/reconstruction.*     with several draws: .../<variant>/draw_000/reconstruction.*
    samples/<sample_id>/<variant>/trajectory.json      likewise, of a few samples
    results.csv  summary.json  grid.png  posterior.csv  posterior.png  wandb/  csv/  tensorboard/

A signal is kept in the file of its medium; its picture has the same name and ends in ``.png`` (of
an image they are one file).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any

from treg_exp.files import TEMPORARY_SUFFIX, finite

Key = tuple[str, str, int]  # (sample_id, variant, draw)
Row = dict[str, Any]
KEY = ("sample_id", "variant", "draw")
IDENTITY = (*KEY, "prompt")  # columns of a row that are no numbers

# What is kept of a sample and of a restoration: names of files, without their ending.
TARGET, MEASUREMENT, PSEUDO_INVERSE, PREVIEW = "target", "measurement", "pseudo_inverse", "preview"
RECONSTRUCTION, MEAN, DEVIATION = "reconstruction", "mean", "std"
LATENTS, TRAJECTORY = "latents.safetensors", "trajectory.json"


def key_of(row: Mapping[str, Any]) -> Key:
    """What identifies a row within a run."""
    return row["sample_id"], row["variant"], int(row.get("draw", 0))


@dataclass(frozen=True)
class RunLayout:
    """Paths of one run.

    Attributes:
        path: the run folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def job(self) -> Path:
        """The configuration that a sweep has planned for this run, as it was then."""
        return self.path / "job.yaml"

    @property
    def log(self) -> Path:
        """What a job of a sweep that ran in another process has printed."""
        return self.path / "log.txt"

    @property
    def trial(self) -> Path:
        """Which trial of a search the run is."""
        return self.path / "trial.json"

    @property
    def identity(self) -> Path:
        """The part of it that decides the results."""
        return self.path / "identity.json"

    @property
    def prior_files(self) -> Path:
        """Hashes of the prior's files."""
        return self.path / "prior_files.json"

    @property
    def environment(self) -> Path:
        """Versions and machine."""
        return self.path / "environment.json"

    @property
    def columns(self) -> Path:
        """What the numbers mean."""
        return self.path / "columns.json"

    @property
    def status(self) -> Path:
        """How far the run is."""
        return self.path / "status.json"

    @property
    def lock(self) -> Path:
        """Held by the process that writes the run."""
        return self.path / ".lock"

    @property
    def batches(self) -> Path:
        """Work of the further processes, while they run: a temporary file, so whoever opens the folder deletes it."""
        return self.path / f".batches{TEMPORARY_SUFFIX}"

    @property
    def rows(self) -> Path:
        """Folder of the rows of what was restored."""
        return self.path / "rows"

    @property
    def failures(self) -> Path:
        """Folder of the rows of what failed."""
        return self.path / "failures"

    @property
    def samples(self) -> Path:
        """Folder of the signals."""
        return self.path / "samples"

    @property
    def results(self) -> Path:
        """The rows as a table."""
        return self.path / "results.csv"

    @property
    def summary(self) -> Path:
        """Means per variant."""
        return self.path / "summary.json"

    @property
    def grid(self) -> Path:
        """The picture of the run."""
        return self.path / "grid.png"

    @property
    def posterior(self) -> Path:
        """Numbers of all draws of a sample."""
        return self.path / "posterior.csv"

    @property
    def posterior_grid(self) -> Path:
        """The picture of mean and standard deviation."""
        return self.path / "posterior.png"

    @property
    def wandb(self) -> Path:
        """Copies for Weights & Biases."""
        return self.path / "wandb"

    def sample(self, sample_id: str) -> Path:
        """Folder of one sample."""
        return self.samples / sample_id

    def variant(self, sample_id: str, variant: str) -> Path:
        """Folder of the restorations of a sample with one setting of the text."""
        return self.sample(sample_id) / variant

    def restoration(self, key: Key, draws: int) -> Path:
        """Folder of one restoration of a run with so many draws."""
        sample_id, variant, draw = key
        folder = self.variant(sample_id, variant)
        return folder / f"draw_{draw:03d}" if draws > 1 else folder

    def trajectory(self, key: Key) -> Path:
        """How a restoration came about, whether the run made one draw or several."""
        single = self.restoration(key, draws=1) / TRAJECTORY
        return single if single.is_file() else self.restoration(key, draws=2) / TRAJECTORY

    def found(self, key: Key) -> Path:
        """Folder of one restoration, whether the run made one draw or several."""
        single = self.restoration(key, draws=1)
        return single if picture(single, RECONSTRUCTION).is_file() else self.restoration(key, draws=2)


def read_rows(run_dir: str | Path) -> list[Row]:
    """All rows of a run, in the order of the file names and lines; no rows yet is an empty list.

    A line that a killed process left unfinished is skipped: its restoration counts as not done. Of rows with the same
    key the first counts. NaN and infinities become None.
    """
    found: dict[Key, Row] = {}
    for row in iterate_rows(run_dir):
        found.setdefault(key_of(row), row)
    return list(found.values())


def iterate_rows(run_dir: str | Path) -> Iterator[Row]:
    """The same one by one, none kept: for numbers of very many rows. Two rows with the same key both come."""
    return _read(RunLayout(Path(run_dir)).rows)


def read_failures(run_dir: str | Path) -> list[Row]:
    """All failures of a run, also of what was restored since."""
    return list(_read(RunLayout(Path(run_dir)).failures))


def of_process(folder: Path, rank: int) -> Path:
    """The file of one process, in the folder of the rows or of the failures."""
    return folder / f"rank-{rank}.jsonl"


def picture(folder: Path, name: str) -> Path:
    """The picture of what is kept under this name."""
    return folder / f"{name}.png"


def _read(folder: Path) -> Iterator[Row]:
    for file in sorted(folder.glob("*.jsonl")):
        with file.open("rb") as stream:
            yield from rows_in(stream)


def rows_in(lines: Iterable[bytes]) -> Iterator[Row]:
    """The rows among lines of JSON; others are left out."""
    return (row for line in lines if (row := row_in(line)) is not None)


def row_in(line: bytes) -> Row | None:
    """The row in a line of JSON, or None. Names of columns and variants are shared by all rows."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # torn, also in the middle of a character; or the empty end of the file
        return None
    if not isinstance(row, dict) or not _has_key(row):
        return None
    shared = {intern(name): finite(value) for name, value in row.items()}
    shared["variant"] = intern(shared["variant"])
    return shared


def _has_key(row: Mapping[str, Any]) -> bool:
    named = all(isinstance(row.get(name), str) for name in ("sample_id", "variant"))
    return named and isinstance(row.get("draw", 0), int)
