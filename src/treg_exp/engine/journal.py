"""The study of a search: a journal file of Optuna's, which many processes on many machines write."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from treg_exp.errors import ConfigError, FieldError

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileOpenLock

JOURNAL = "study.journal"  # in the folder of the sweep
STUDY = "search"  # its name in the journal, which holds one
PRUNERS = ("none", "median", "hyperband")


@dataclass(frozen=True)
class PrunerSettings:
    """Which runs of a search end early.

    Attributes:
        kind: ``median`` ends a run whose running mean is worse than the median of the others' after as many
            samples; ``hyperband`` gives more samples to the better third again and again (Li et al. 2018).
        after_trials: complete trials from which on ``median`` compares.
        after_samples: samples of a run before it may be ended: a mean over a few says little.
        report_every: samples between two comparisons.
    """

    kind: Literal["none", "median", "hyperband"] = "none"
    after_trials: int = 5
    after_samples: int = 8
    report_every: int = 1

    def __post_init__(self) -> None:
        if self.kind not in PRUNERS:
            raise FieldError("kind", self.kind, f"must be one of {', '.join(PRUNERS)}")
        for name, least in (("after_trials", 0), ("after_samples", 1), ("report_every", 1)):
            if getattr(self, name) < least:
                raise FieldError(name, getattr(self, name), f"must be at least {least}")

    def make(self) -> BasePruner:
        """Optuna's pruner. Its steps are samples."""
        from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

        if self.kind == "median":
            return MedianPruner(self.after_trials, n_warmup_steps=self.after_samples)
        return HyperbandPruner(min_resource=self.after_samples) if self.kind == "hyperband" else NopPruner()


def require_optuna() -> None:
    """Find out whether Optuna is there, and keep it quiet.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "hydra/sweeper=optuna_search: needs Optuna, which is not installed; pip install 'treg_exp[search]'"
        ) from None
    optuna.logging.set_verbosity(logging.WARNING)
    warnings.filterwarnings("ignore", module="optuna")


def open_journal(file: Path) -> JournalStorage:
    """The storage in a file, which is made where there is none."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    lock = file_lock(file)
    if file.exists():
        _close_torn_line(file, lock)
    return JournalStorage(JournalFileBackend(str(file), lock_obj=lock))


def file_lock(file: Path) -> JournalFileOpenLock:
    """A lock on a file: another file beside it, which only one process can make (``O_EXCL``).

    It holds on NFS from version 3 on, and on file systems without symbolic links, which Optuna's other lock needs.
    A file that is left of a killed process is removed by the others after 30 s.
    """
    from optuna.storages.journal import JournalFileOpenLock

    return JournalFileOpenLock(str(file))


def _close_torn_line(file: Path, lock: JournalFileOpenLock) -> None:
    """Take out what a process that was killed while it wrote, or a full disk, has left of a line.

    The next line would be appended to it, and no process could read the journal from there on.
    """
    lock.acquire()
    try:
        with file.open("r+b") as journal:
            size = journal.seek(0, os.SEEK_END)
            while size:
                start = max(size - 4096, 0)
                journal.seek(start)
                found = journal.read(size - start).rfind(b"\n")
                if found >= 0:
                    size = start + found + 1
                    break
                size = start
            journal.truncate(size)
    finally:
        lock.release()
