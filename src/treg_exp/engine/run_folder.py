"""The run folder: the only truth about a run. Rows are appended, everything else is renamed into place."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from omegaconf import OmegaConf

from treg_exp.configuration.identity import decisive
from treg_exp.engine.environment import environment, read_noted
from treg_exp.engine.file_hashes import changed_file, hashed
from treg_exp.engine.row_files import Keys, drop_damaged_rows
from treg_exp.engine.status import here, is_alive, now, write_status
from treg_exp.errors import ConfigError, FileError, RunBusyError, RunFailedError
from treg_exp.files import TEMPORARY_SUFFIX, append_json_line, leftover, read_json, write_json, write_text
from treg_exp.metrics.column import Columns
from treg_exp.run_layout import Key, Row, RunLayout, of_process


class RunFolder:
    """Files of one run.

    Attributes:
        path: the folder.
        layout: where its files are.
        finished: called, it gives the keys of the work items that have a row.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.layout = RunLayout(self.path)
        self.finished = Keys(self.layout.rows)
        self._failures = Keys(self.layout.failures)
        self._lock: IO[str] | None = None
        self._start: dict[str, Any] | None = None  # who writes here, since when

    def open(self, config: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        """Create the folder, or check that an existing one belongs to the same configuration, and keep others out.

        Raises:
            ConfigError: another run's results are there (the message names the first setting that differs),
                another process is writing them, or nobody may write there.
        """
        try:
            self._check(identity)
            self._claim()
            self._check(identity)  # another process may have been here since
            for left in self.path.rglob(f".*{TEMPORARY_SUFFIX}"):
                if leftover(left) or left == self.layout.batches:
                    left.unlink(missing_ok=True)
            if not self.layout.identity.is_file():
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
        return self._lock is not None

    def close(self) -> None:
        """Let other processes write here."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _check(self, identity: Mapping[str, Any]) -> None:
        """Refuse a folder that holds something else; nothing is written."""
        if self.layout.identity.is_file():
            before = decisive(read_json(self.layout.identity))  # an older version may have written more
            if different := difference(before, json.loads(json.dumps(identity))):
                key, old, new = different
                raise ConfigError(
                    f"run_dir={self.path} holds a run with {key}={old}, this one has {key}={new}; "
                    "choose another run_dir, or the same settings to continue it"
                )
        elif self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"run_dir={self.path} is a file; choose another folder")
        elif self.path.is_dir() and (others := [e.name for e in self.path.iterdir() if not self._beginning(e)]):
            raise ConfigError(
                f"run_dir={self.path} is not empty and holds no run, but {min(others)}; choose another folder"
            )

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
        if not self.layout.identity.is_file():
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

    def drop_damaged(
        self, told: Mapping[Key, Mapping[str, str]], numbers: Collection[str], shared: Mapping[str, Collection[str]]
    ) -> None:
        """Take out what has to be done again, and say so; see `drop_damaged_rows`."""
        dropped = drop_damaged_rows(self.layout, told, numbers, shared)
        if dropped:
            names = ", ".join("/".join(map(str, key)) for key in dropped[:3]) + ", ..." * (len(dropped) > 3)
            count = f"{len(dropped)} of {len(told)} restorations"
            print(f"note: damaged or missing, done again: {count}: {names}", flush=True)

    def _claim(self) -> None:
        """Lock the folder until ``close`` or the end of this process, however it ends.

        Two processes with the same command would do everything twice and write the same files.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = self.layout.lock.open("a+")
        try:
            import fcntl

            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise self._busy("another process") from None
        except (ImportError, OSError):  # no such thing on this system or file system: the run goes on without
            pass
        status = read_noted(self.layout.status)  # a lock may not reach other machines
        mine = here()
        elsewhere = status.get("host") != mine["host"] and status.get("slurm_job", "") != mine.get("slurm_job")
        if status.get("state") == "running" and elsewhere and is_alive(self.path, status):
            self.close()
            raise self._busy(f"{status.get('host')}, process {status.get('pid')}")

    def _busy(self, whom: str) -> RunBusyError:
        return RunBusyError(f"run_dir={self.path} is being written by {whom}; wait for it, or choose another run_dir")

    def write_environment(self, precision: str) -> None:
        """``environment.json``: what the restorations that come now are computed with.

        Args:
            precision: number format of the denoiser. With ``prior.precision=auto`` it follows the device; a run that
                is continued in another one says so.
        """
        file = self.layout.environment
        before = read_noted(file).get("precision")
        if before not in (None, precision) and self.finished():
            print(f"note: earlier restorations were computed in {before}, these are in {precision}", flush=True)
        write_json(file, {**environment(), "precision": precision})

    def write_columns(self, columns: Columns) -> None:
        """``columns.json``: what the numbers of the run mean; reports read it."""
        columns.write(self.layout.columns)

    def failed(self) -> set[Key]:
        """Keys of the work items that have failed and were not restored since."""
        return self._failures() - self.finished()

    def append(self, rank: int, rows: Sequence[Row], failures: Sequence[Row]) -> None:
        """Append the rows of a batch; each process has its own files."""
        for folder, lines in ((self.layout.rows, rows), (self.layout.failures, failures)):
            if lines:
                append_json_line(of_process(folder, rank), *lines)

    def write_status(self, state: str, wanted: Collection[Key], **more: Any) -> None:
        """``status.json``: state and counts of work items, from the files of all processes.

        Args:
            state: running, finished, failed or interrupted.
            wanted: the work items of the run.
            more: further entries.
        """
        finished, failed = (len(keys.intersection(wanted)) for keys in (self.finished(), self.failed()))
        if self._start is None:
            self._start = {**here(), "started": now(), "begun_with": finished}
        counts = {"state": state, "expected": len(wanted), "finished": finished, "failed": failed}
        write_status(self.path, {**counts, **self._start, **more})

    def beat(self, wanted: Collection[Key]) -> None:
        """A sign of life with the counts of now; of a folder that was deleted nothing is written."""
        self.require()
        self.write_status("running", wanted)

    def write_end(self, state: str, wanted: Collection[Key], **more: Any) -> None:
        """The status of a run that did not come to its end: as far as possible, for this may be why.

        Of a folder that was deleted nothing is written. On a full disk the old status is overwritten, which takes
        no further block.
        """
        try:
            self.require()
            self.write_status(state, wanted, **more)
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
