"""Which jobs a sweep consists of: one file that names all of them before the first one starts."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from treg_exp.engine.status import Status, read_status
from treg_exp.errors import ConfigError, FileError
from treg_exp.files import leftover, read_json, write_json
from treg_exp.run_layout import RunLayout

MANIFEST = "sweep.json"
NAME = re.compile(r"\w[\w.-]*")  # of a job
IGNORED_OVERRIDES = ("run_dir", "dry_run")  # overrides that commands differ in and jobs do not
NEEDS_NO_START = ("finished", "pruned", "running")  # states of jobs that need no start


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        id: hash of its scientific configuration, and name of its run folder.
        overrides: what the command line said for it.
        inputs: hash of what its configuration was composed from; while that is the same, so is the job.
    """

    id: str
    overrides: tuple[str, ...]
    inputs: str = ""


class Sweep:
    """The folder of a sweep: a run folder for each job, and the manifest.

    Attributes:
        path: the folder.
        jobs: all jobs that were ever planned here, by id and in that order.
        working_folder: where the command was given; relative paths start there.
        launching: overrides of the command that said how the jobs are started.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.jobs: dict[str, Job] = {}
        self.working_folder = Path.cwd()
        self.launching: tuple[str, ...] = ()
        self._read()

    @property
    def file(self) -> Path:
        """The manifest."""
        return self.path / MANIFEST

    @property
    def name(self) -> str:
        """Joins the runs of the sweep, for instance in W&B."""
        return self.path.absolute().name

    def folder(self, job: Job) -> Path:
        """The run folder of a job."""
        return self.path / job.id

    def status(self, job: Job) -> Status:
        """How far a job is, by its own word."""
        return read_status(self.folder(job))

    def add(self, jobs: Iterable[Job], launching: Sequence[str]) -> None:
        """Note jobs, beside those of earlier commands and of other processes that plan here at the same time.

        Args:
            jobs: new ones, and known ones whose inputs have changed.
            launching: how they are started.
        """
        with self._locked():
            self._read()
            for left in filter(leftover, self.path.glob(f".{MANIFEST}*")):  # of a process that was killed here
                left.unlink(missing_ok=True)
            self.jobs |= {job.id: job for job in jobs}
            self.launching, self.working_folder = tuple(launching), Path.cwd()
            values: dict[str, Any] = {
                "working_folder": str(self.working_folder),
                "launching": list(self.launching),
                "jobs": [asdict(job) for job in self.jobs.values()],
            }
            write_json(self.file, values)

    def _read(self) -> None:
        try:
            found = read_json(self.file)
            self.jobs = {job["id"]: _job(**job) for job in found.get("jobs", ())}
            if found:
                self.working_folder = Path(found.get("working_folder", "."))
                self.launching = tuple(found.get("launching", ()))
        except (FileError, TypeError, KeyError) as error:
            told = str(error) if isinstance(error, FileError) else f"{self.file} is damaged: {error}"
            help = "delete it and give the command of the sweep again: what its jobs have made stays"
            raise ConfigError(f"{told}; {help}") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep others from writing the manifest meanwhile, where the file system has locks."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".sweep.lock").open("a") as lock:
            with suppress(ImportError, OSError):
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def find_sweep(path: Path) -> Sweep:
    """The sweep of a folder.

    Raises:
        ConfigError: there is none.
    """
    if not (path / MANIFEST).is_file():
        raise ConfigError(f"{path}: neither a run nor a sweep, whose file is {MANIFEST}; give the run_dir of one")
    return Sweep(path)


def varying(jobs: Sequence[Job]) -> dict[str, str]:
    """What tells the jobs of a sweep apart, as a label for each id: the overrides that not all have."""
    common = set.intersection(*(set(job.overrides) for job in jobs)) if jobs else set()

    def tells(part: str) -> bool:
        return part not in common and part.partition("=")[0] not in IGNORED_OVERRIDES

    labels = {job.id: " ".join(filter(tells, job.overrides)) for job in jobs}
    often = Counter(labels.values())  # planned before and after a change of conf/
    return {
        job_id: label if label and often[label] == 1 else f"{label} {job_id}".strip()
        for job_id, label in labels.items()
    }


def _job(id: str, overrides: Sequence[str], inputs: str = "") -> Job:
    if not NAME.fullmatch(id):
        raise KeyError(f"{id!r} is no name of a job")  # it would lead elsewhere
    return Job(id, tuple(overrides), inputs)


def make_sweep_folder(path: Path) -> None:
    """Make the folder of a sweep.

    Raises:
        ConfigError: it cannot be written, or it holds a run.
    """
    if RunLayout(path).identity.is_file():
        raise ConfigError(
            f"run_dir={path} holds a single run; with -m choose another run_dir, for the runs of the sweep"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"run_dir={path} cannot be written: {error.strerror}; choose another folder") from None
    if not os.access(path, os.W_OK):
        raise ConfigError(f"run_dir={path} cannot be written; choose another folder")
