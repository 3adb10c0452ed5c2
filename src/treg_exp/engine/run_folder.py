"""The run folder: the only truth about a run. Rows are appended, everything else is renamed into place."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from treg_exp.configuration.identity import decisive, hash_of
from treg_exp.engine.environment import environment, read_noted
from treg_exp.engine.file_hashes import changed_file, hashed
from treg_exp.engine.occupation import FolderLock
from treg_exp.engine.plan import Plan
from treg_exp.engine.row_files import Marks, drop_damaged_rows
from treg_exp.engine.status import here, now, write_status
from treg_exp.errors import ConfigError, FileError, RunFailedError
from treg_exp.files import TEMPORARY_SUFFIX, append_json_line, leftover, read_json, write_json, write_text
from treg_exp.metrics.column import Columns
from treg_exp.run_layout import Row, RunLayout, of_process


class RunFolder:
    """Files of one run.

    Attributes:
        path: the folder.
        plan: the work items of the run.
        layout: where its files are.
        finished: called, it says of every work item whether it has a row.
    """

    def __init__(self, path: str | Path, plan: Plan) -> None:
        self.path, self.plan = Path(path), plan
        self.layout = RunLayout(self.path)
        self.finished = Marks(self.layout.rows, plan)
        self._failures = Marks(self.layout.failures, plan)
        self._lock = FolderLock(self.path)
        self._start: dict[str, Any] | None = None  # who writes here, since when
        self._began = 0.0  # the same as s of a clock that nobody sets

    def open(self, config: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        """Create the folder, or check that an existing one belongs to the same configuration, and keep others out.

        Raises:
            ConfigError: another run's results are there (the message names the first setting that differs),
                another process is writing them, or nobody may write there.
        """
        try:
            self._check(identity)
            self._lock.acquire()
            known = self._check(identity)  # another process may have been here since
            for left in self.path.rglob(f".*{TEMPORARY_SUFFIX}"):
                if leftover(left) or left == self.layout.batches:
                    left.unlink(missing_ok=True)
            if not known:
                write_json(self.layout.identity, identity)
            write_text(self.layout.config, OmegaConf.to_yaml(OmegaConf.create(dict(config))))
        except FileError as error:
            self.close()
            raise ConfigError(f"run_dir={self.path} cannot be continued: {error}; choose another run_dir") from None
        except OSError as error:
            self.close()
            raise ConfigError(
                f"run_dir={self.path} cannot be written: {error.strerror}; choose another folder"
            ) from None

    @property
    def is_open(self) -> bool:
        """Whether this process may write here."""
        return self._lock.is_held

    def close(self) -> None:
        """Let other processes write here."""
        self._lock.release()

    def _check(self, identity: Mapping[str, Any]) -> bool:
        """Refuse a folder that holds something else; nothing is written. Whether it says what it holds.

        A folder whose name is the hash of the identity can only be that of this run: a damaged file stops nothing.
        """
        ours, there = hash_of(identity) == self.path.name, self.layout.identity.is_file()
        try:
            before = decisive(read_json(self.layout.identity))  # an older version may have written more
        except FileError:
            if not ours:
                raise
            there = False
        if there:
            if different := difference(before, json.loads(json.dumps(identity))):
                key, old, new = different
                raise ConfigError(
                    f"run_dir={self.path} holds a run with {key}={old}, this one has {key}={new}; "
                    "choose another run_dir, or the same settings to continue it"
                )
        elif self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"run_dir={self.path} is a file; choose another folder")
        elif not ours and self.path.is_dir() and (other := self._other()):
            raise ConfigError(f"run_dir={self.path} is not empty and holds no run, but {other}; choose another folder")
        return there

    def _other(self) -> str:
        """Name of a file that no run has made; empty where there is none, or another process begins one right now."""
        others = [entry.name for entry in self.path.iterdir() if not self._beginning(entry)]
        return min(others) if others and not self.layout.identity.is_file() else ""

    def _beginning(self, entry: Path) -> bool:
        """Whether a file is what a run that was killed at its very start leaves, or one that ended before it."""
        planned = (
            (self.layout.job, self.layout.status, self.layout.log, self.layout.trial)
            if self.layout.job.is_file()
            else ()
        )
        return entry in (self.layout.lock, *planned) or leftover(entry)

    def require(self) -> None:
        """Find out whether the folder is still there: whatever is written would make a new one, with a part of the run.

        Raises:
            RunFailedError: somebody has deleted it.
        """
        if not self.layout.identity.is_file() or self._lock.is_lost:
            raise RunFailedError(f"run_dir={self.path} was deleted while the run wrote into it")

    def check_prior(self, files: Sequence[Path]) -> None:
        """Note the hashes of the prior's files, or compare with those of the run that is continued.

        Raises:
            ConfigError: a file is another one than before.
        """
        try:
            before = read_json(self.layout.prior_files)
            now = hashed(files, before)
        except (FileError, OSError) as error:
            raise ConfigError(f"run_dir={self.path} cannot be continued: {error}; choose another run_dir") from None
        if before and (changed := changed_file(before, now)):
            raise ConfigError(
                f"run_dir={self.path} was made with another {changed} of the prior; "
                "choose another run_dir, or the same files to continue it"
            )
        if now != before:
            write_json(self.layout.prior_files, now)

    def drop_damaged(self, numbers: Collection[str], shared: Mapping[str, Collection[str]]) -> None:
        """Take out what has to be done again, and say so; see `drop_damaged_rows`."""
        dropped = drop_damaged_rows(self.layout, self.plan, numbers, shared)
        if dropped:
            names = ", ".join("/".join(map(str, key)) for key in dropped[:3]) + ", ..." * (len(dropped) > 3)
            count = f"{len(dropped)} of {len(self.plan)} restorations"
            print(f"note: damaged or missing, done again: {count}: {names}", flush=True)

    def write_environment(self, precision: str) -> None:
        """``environment.json``: what the restorations that come now are computed with.

        Args:
            precision: number format of the denoiser. With ``prior.precision=auto`` it follows the device; a run that
                is continued in another one says so.
        """
        file = self.layout.environment
        before = read_noted(file).get("precision")
        if before not in (None, precision) and self.finished().any():
            print(f"note: earlier restorations were computed in {before}, these are in {precision}", flush=True)
        write_json(file, {**environment(), "precision": precision})

    def write_columns(self, columns: Columns) -> None:
        """``columns.json``: what the numbers of the run mean; reports read it.

        What made earlier rows stays in it.
        """
        before = read_noted(self.layout.columns).get("scored_by") or {}
        replace(columns, scored_by={**before, **columns.scored_by}).write(self.layout.columns)

    def failed(self) -> NDArray[np.bool_]:
        """Of every work item whether it has failed and was not restored since."""
        return self._failures() & ~self.finished()

    def append(self, rank: int, rows: Sequence[Row], failures: Sequence[Row]) -> None:
        """Append the rows of a batch; each process has its own files."""
        for folder, lines in ((self.layout.rows, rows), (self.layout.failures, failures)):
            if lines:
                append_json_line(of_process(folder, rank), *lines)

    def write_status(self, state: str, **more: Any) -> None:
        """``status.json``: state and counts of work items, from the files of all processes.

        Args:
            state: running, finished, failed, interrupted or pruned.
            more: further entries.
        """
        finished, failed = (int(marks.sum()) for marks in (self.finished(), self.failed()))
        if self._start is None:
            self._start, self._began = {**here(), "started": now(), "begun_with": finished}, time.monotonic()
        counts = {"state": state, "expected": len(self.plan), "finished": finished, "failed": failed}
        seconds = round(time.monotonic() - self._began, 3)
        write_status(self.path, {**counts, **self._start, "seconds": seconds, **more})

    def beat(self) -> None:
        """A sign of life with the counts of now; of a folder that was deleted nothing is written."""
        self.require()
        self.write_status("running")

    def write_end(self, state: str, **more: Any) -> None:
        """The status of a run that did not come to its end: as far as possible, for this may be why.

        Of a folder that was deleted nothing is written. On a full disk the old status is overwritten, which takes
        no further block.
        """
        try:
            self.require()
            self.write_status(state, **more)
        except RunFailedError:
            pass
        except OSError:
            with suppress(OSError, FileError), self.layout.status.open("r+", encoding="utf-8") as file:
                text = json.dumps({**read_json(self.layout.status), "state": state, **more}, indent=2) + "\n"
                file.write(text)
                file.truncate()


def difference(before: Any, after: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first dotted key whose values differ, with both values; None where all agree."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(k for k in after if k not in before)]:
            found = difference(before.get(key), after.get(key), f"{name}.{key}" if name else key)
            if found:
                return found
        return None
    return None if before == after else (name, before, after)
