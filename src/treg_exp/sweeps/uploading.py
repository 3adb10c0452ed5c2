"""``treg-exp sync``: offline W&B runs go to the server by ``wandb sync``, each start of a run once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treg_exp.engine.status import now
from treg_exp.engine.wandb_log import OfflineRun, mend, read_offline
from treg_exp.errors import ConfigError, FieldError, FileError
from treg_exp.files import read_json, write_json
from treg_exp.run_layout import RunLayout
from treg_exp.sweeps.overview import Line, lines

NOTE = "uploaded.json"  # in the folder of the W&B files: which of them the server has
UNCHANGED, UPLOADED, LISTED, SKIPPED, FAILED = "up to date", "uploaded", "would be uploaded", "skipped", "failed"


@dataclass(frozen=True)
class Server:
    """Where W&B uploads to.

    Attributes:
        url: of its API.
        patience: s without a word of the server, or of ``wandb sync``, after which it counts as gone.
    """

    url: str
    patience: float

    def problem(self) -> str:
        """Why it cannot be reached; empty where it can: ``wandb sync`` would try for hours."""
        body = b'{"query": "{ serverInfo { __typename } }"}'
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=self.patience).close()
        except urllib.error.HTTPError as error:
            return f"{self.url} answers with error {error.code}" if error.code >= 500 else ""  # 4xx: wants a key
        except (OSError, ValueError) as error:
            return f"{self.url} cannot be reached: {getattr(error, 'reason', None) or error}"
        return ""


def sync(folders: Sequence[Path], dry_run: bool = False, patience: float = 120.0) -> int:
    """Upload what the server does not have, and print what became of every run.

    Args:
        folders: runs, sweeps, or what holds several.
        dry_run: say what would be uploaded, and change nothing.
        patience: s, see `Server`.

    Returns:
        Exit code: 1 where something is damaged or could not be uploaded, 0 otherwise.
    """
    if not patience > 0:
        raise FieldError("patience", patience, "must be > 0 s")
    counts: Counter[str] = Counter()
    found: list[Line] = []
    server = Server(_url(), patience)
    for folder in folders:
        try:
            found += [line for line in lines(folder) if line.folder not in [other.folder for other in found]]
        except ConfigError as error:
            print(f"{FAILED}: {error}")
            counts[FAILED] += 1
    problem = ""
    for line in found:
        if line.status.state == "queued":
            continue
        state, told = (SKIPPED, "is still running; sync it when it has ended") if line.status.state == "running" else (
            _sync_run(line.folder, server, dry_run, problem)
        )  # fmt: skip
        if told.startswith(server.url):
            problem = told  # the next runs need not wait for it
        counts[state] += 1
        print(f"{state}: {line.folder}{': ' if told else ''}{told}", flush=True)
    print(", ".join(f"{count} {state}" for state, count in counts.items()) or "no run of W&B", flush=True)
    return int(counts[FAILED] > 0)


def _sync_run(folder: Path, server: Server, dry_run: bool, problem: str) -> tuple[str, str]:
    """What became of one run, and more about it."""
    wandb = RunLayout(folder).wandb
    files = sorted(wandb.glob("offline-run-*/*.wandb"))
    if not files:
        return SKIPPED, "has no offline run of W&B"
    try:
        noted = read_json(wandb / NOTE)
        left = [file for file in files if not _is_uploaded(file, noted)]
        parts = [read_offline(file) for file in left]
    except (FileError, OSError) as error:
        return FAILED, str(error)
    if not parts:
        return UNCHANGED, ""
    if gone := [path for part in parts for path in part.gone]:
        return FAILED, f"{len(gone)} files of its table are gone, such as {gone[0]}; `wandb sync` leaves it out"
    about = f"{len(parts)} of {len(files)} parts of the W&B run {parts[0].project}/{parts[0].run_id}"
    if dry_run:
        return LISTED, f"{about}, {sum(part.file.stat().st_size for part in parts) / 1e6:.2g} MB, to {server.url}"
    if problem := problem or server.problem():
        return FAILED, problem
    for part in parts:
        mend(part)
    said = _wandb_sync([part.file for part in parts], server)
    done = [part for part in parts if _marker(part.file).is_file()]
    write_json(wandb / NOTE, noted | {_name(part.file): _note(part, server.url) for part in done})
    if len(done) < len(parts):
        return FAILED, f"{len(done)} of {len(parts)} parts uploaded; {said}"
    return UPLOADED, f"{about} to {server.url}"


def _wandb_sync(files: Sequence[Path], server: Server) -> str:
    """Let W&B upload offline files, which belong to one run. What it said of an error; it tells no code."""
    command = [sys.executable, "-m", "wandb", "sync", *(str(file.parent.absolute()) for file in files)]
    with tempfile.TemporaryDirectory(prefix="treg_exp-sync-") as scratch:
        log = Path(scratch) / "log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, cwd=scratch,
                env={**os.environ, "WANDB_DIR": scratch},
            )  # fmt: skip
        ended = False
        try:
            ended = _wait(process, log, server.patience)
        finally:
            if not ended:
                process.kill()
                process.wait()
        said = [line.removeprefix("wandb:").strip() for line in log.read_text(errors="replace").splitlines()]
    if not ended:
        return f"{server.url} was silent for {server.patience:g} s"
    errors = [line for line in said if line.lower().startswith("error")]
    return (errors or said or ["wandb sync said nothing"])[-1]


def _wait(process: subprocess.Popen[bytes], log: Path, patience: float) -> bool:
    """Whether a process ends before it is silent for so many seconds."""
    size, since = -1, time.monotonic()
    while time.monotonic() - since < patience:
        try:
            process.wait(timeout=min(1.0, patience))
            return True
        except subprocess.TimeoutExpired:
            if log.stat().st_size != size:
                size, since = log.stat().st_size, time.monotonic()
    return False


def _is_uploaded(file: Path, noted: dict[str, Any]) -> bool:
    """Whether the server has it, as far as it is known here; also what `wandb sync` has uploaded by itself."""
    note = noted.get(_name(file))
    if isinstance(note, dict):
        return bool(note.get("bytes") == file.stat().st_size)
    return _marker(file).is_file()


def _note(part: OfflineRun, url: str) -> dict[str, Any]:
    about = {"run": part.run_id, "project": part.project, "server": url, "at": now()}
    return {"bytes": part.file.stat().st_size, **about}


def _name(file: Path) -> str:
    return file.parent.name


def _marker(file: Path) -> Path:
    """The file by which `wandb sync` says that it has uploaded another one to its end."""
    return file.with_name(f"{file.name}.synced")


def _url() -> str:
    """Of the server that W&B is set up for."""
    import wandb

    return str(wandb.setup().settings.base_url).rstrip("/")
