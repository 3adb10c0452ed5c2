"""The run folder: the only truth about a run. Rows are appended, everything else is renamed into place."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from omegaconf import OmegaConf

from treg_exp.configuration.settings import decisive
from treg_exp.errors import ConfigError
from treg_exp.files import TEMPORARY_SUFFIX, append_json_line, read_json, write_json, write_text
from treg_exp.metrics.column import Columns
from treg_exp.run_layout import Key, Row, RunLayout, key_of, of_process, read_failures, read_rows

PACKAGES = (
    "torch",
    "lightning",
    "hydra-core",
    "omegaconf",
    "diffusers",
    "transformers",
    "torchmetrics",
    "deepinv",
    "soundfile",
    "wandb",
)


class RunFolder:
    """Files of one run.

    Attributes:
        path: the folder.
        layout: where its files are.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.layout = RunLayout(self.path)
        self._lock: IO[str] | None = None

    def open(self, config: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        """Create the folder, or check that an existing one belongs to the same configuration, and keep others out.

        Raises:
            ConfigError: another run's results are there (the message names the first setting that differs),
                another process is writing them, or nobody may write there.
        """
        try:
            self._check(identity)
            self._claim()
        except OSError as error:
            raise ConfigError(
                f"run_dir={self.path} cannot be written: {error.strerror}; choose another folder"
            ) from None
        self._check(identity)  # another process may have been here since
        for left in self.path.rglob(f".*{TEMPORARY_SUFFIX}"):  # by a process that was killed while it wrote
            left.unlink(missing_ok=True)
        if not self.layout.identity.is_file():
            write_json(self.layout.identity, identity)
        write_text(self.layout.config, OmegaConf.to_yaml(OmegaConf.create(dict(config))))

    def close(self) -> None:
        """Let other processes write here."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _check(self, identity: Mapping[str, Any]) -> None:
        """Refuse a folder that holds something else; nothing is written."""
        if self.layout.identity.is_file():
            before = decisive(json.loads(self.layout.identity.read_text()))  # an older version may have written more
            if different := difference(before, json.loads(json.dumps(identity))):
                key, old, new = different
                raise ConfigError(
                    f"run_dir={self.path} holds a run with {key}={old}, this one has {key}={new}; "
                    "choose another run_dir, or the same settings to continue it"
                )
        elif self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"run_dir={self.path} is a file; choose another folder")
        elif self.path.is_dir() and any(not entry.name.startswith(".") for entry in self.path.iterdir()):
            raise ConfigError(f"run_dir={self.path} is not empty and holds no run; choose another folder")

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
            raise ConfigError(
                f"run_dir={self.path} is being written by another process; wait for it, or choose another run_dir"
            ) from None
        except (ImportError, OSError):  # no such thing on this system or file system: the run goes on without
            pass

    def write_environment(self, precision: str) -> None:
        """``environment.json``: what the restorations that come now are computed with.

        Args:
            precision: number format of the denoiser. With ``prior.precision=auto`` it follows the device; a run that
                is continued in another one says so.
        """
        file = self.layout.environment
        before = read_json(file).get("precision")
        if before not in (None, precision) and self.finished():
            print(f"note: earlier restorations were computed in {before}, these are in {precision}", flush=True)
        write_json(file, {**environment(), "precision": precision})

    def write_columns(self, columns: Columns) -> None:
        """``columns.json``: what the numbers of the run mean; reports read it."""
        columns.write(self.layout.columns)

    def finished(self) -> set[Key]:
        """Keys of the work items that have a row."""
        return {key_of(row) for row in read_rows(self.path)}

    def failed(self, finished: Collection[Key] | None = None) -> set[Key]:
        """Keys of the work items that have failed and were not restored since.

        Args:
            finished: what :meth:`finished` gives, if it is known already.
        """
        keys = {key_of(row) for row in read_failures(self.path)}
        return keys.difference(self.finished() if finished is None else finished)

    def append(self, rank: int, rows: Sequence[Row], failures: Sequence[Row]) -> None:
        """Append the rows of a batch; each process has its own files."""
        for folder, lines in ((self.layout.rows, rows), (self.layout.failures, failures)):
            for row in lines:
                append_json_line(of_process(folder, rank), row)

    def write_status(self, state: str, wanted: Collection[Key], **more: Any) -> None:
        """``status.json``: state and counts of work items, from the files of all processes.

        Args:
            state: running, finished, failed or interrupted.
            wanted: the work items of the run.
            more: further entries.
        """
        restored = self.finished()  # every row of the run is read for it: once
        finished, failed = (len(keys.intersection(wanted)) for keys in (restored, self.failed(restored)))
        counts = {"state": state, "expected": len(wanted), "finished": finished, "failed": failed}
        write_json(self.layout.status, {**counts, "updated": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **more})


def difference(before: Any, after: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first dotted key whose values differ, with both values; None where all agree."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(k for k in after if k not in before)]:
            found = difference(before.get(key), after.get(key), f"{name}.{key}" if name else key)
            if found:
                return found
        return None
    return None if before == after else (name, before, after)


def environment() -> dict[str, Any]:
    """Versions, code revision and machine of this run."""
    import torch

    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "git": git_revision(),
        "packages": {name: _version(name) for name in ("treg_exp", *PACKAGES)},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def git_revision() -> str | None:
    """Commit of the working tree, with ``-dirty`` where it has changes; None outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    folder = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
