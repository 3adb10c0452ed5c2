"""Submit the run folders that are not on the cluster yet, wait, and say what Slurm has done to the others."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from treg_exp.engine.status import is_alive, write_status
from treg_exp.errors import ConfigError
from treg_exp.run_layout import RunLayout
from treg_exp.sweeps.slurm.queue import Seen, look, words_about
from treg_exp.sweeps.slurm.submission import SlurmSettings, check_tasks, submit

BOOK = "jobs.jsonl"  # which job works on which folder, a line per submission
OVER = ("finished", "pruned")  # states of a run that is done
LOG_END = 4096  # bytes
SECOND_LOOK = 5.0  # s, at jobs that seem to be over


def run_folders(folders: Sequence[Path], settings: SlurmSettings) -> None:
    """Work on run folders with jobs of Slurm, and return when all are over.

    A folder whose job of an earlier call is still on the cluster gets no second one: its job is waited for.

    Args:
        folders: run folders of one sweep, as it has planned them.
        settings: what to ask Slurm for.

    Raises:
        ConfigError: Slurm does not take the jobs.
        KeyboardInterrupt: with what to do about the jobs, which stay.
    """
    folders = [folder.absolute() for folder in folders]
    if not folders:
        return
    check_tasks(folders, settings)
    sweep = folders[0].parent
    logs = settings.logs(sweep)
    jobs = _still_there(logs / BOOK, folders)
    if jobs:
        _say(f"{len(jobs)} of {len(folders)} jobs are on the cluster already")
    new = [folder for folder in folders if folder not in jobs]
    before = {folder: _status_bytes(folder) for folder in folders}
    with _jobs_stay(sweep, jobs):
        for folder, job in submit(new, settings, logs):
            with (logs / BOOK).open("a", encoding="utf-8") as book:
                print(json.dumps({"folder": str(folder), "job": job}), file=book)
            jobs[folder] = job
        if new:
            _say(f"{len(new)} jobs submitted ({_ids(jobs[folder] for folder in new)}); logs: {logs}")
        if not settings.wait:
            _say(f"not waiting; `treg-exp status {sweep}` shows them")
            return
        for folder, last in _as_they_end(jobs, settings.poll_s):
            settle(folder, jobs[folder], last, logs, before[folder])


def settle(folder: Path, job: str, last: Seen, logs: Path, before: bytes) -> None:
    """Write down what became of a job that could not do so itself: cancelled, killed, lost with its node.

    Args:
        folder: its run folder.
        job: its id.
        last: how Slurm showed it last.
        logs: folder of the jobs' output.
        before: the folder's ``status.json`` before the job; the same bytes afterwards mean that it wrote nothing.
    """
    status, now = _status(folder), _status_bytes(folder)
    state = status.get("state")
    if state in OVER or (state == "failed" and now != before):
        return
    if state == "running" and status.get("slurm_job") != job and is_alive(folder, status):  # somebody was there first
        return
    error = f"Slurm job {job}: {words_about(job, last)}"
    log = next((file for end in ("err", "out") if _last_word(file := logs / f"{job}_0_log.{end}")), None)
    if log is not None:
        error += f"; {log.name}: {_last_word(log)}"
    write_status(folder, {**status, "state": "failed", "error": error, "exit_code": 1})


def _still_there(book: Path, folders: Sequence[Path]) -> dict[Path, str]:
    """The folders of which a job is in the queue or at work, with its id."""
    if not book.is_file():
        return {}
    wanted, noted = set(folders), {}
    for line in book.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, KeyError):  # of a program that was killed while it wrote
            entry = json.loads(line)
            if (folder := Path(entry["folder"])) in wanted:
                noted[folder] = str(entry["job"])  # the last one counts
    seen = look(noted.values())
    if seen is None:
        raise ConfigError("hydra.launcher: Slurm does not answer (squeue); jobs of before may still be there")
    return {folder: job for folder, job in noted.items() if not seen[job].over}


def _as_they_end(jobs: dict[Path, str], poll_s: float) -> Iterator[tuple[Path, Seen]]:
    """Folders whose jobs are over, as seen twice: a job on its way back into the queue may look so for a moment."""
    left, once, said = dict(jobs), set[str](), ""
    while True:
        seen = look(left.values())
        if seen is not None:
            again = {job for job in left.values() if seen[job].over}
            for folder in [folder for folder, job in left.items() if job in again & once]:
                yield folder, seen[left.pop(folder)]
            once = again
            if not left:
                _say(_counts(jobs, left, seen))
                return
        line = _counts(jobs, left, seen)
        if line != said:
            _say(said := line)
        time.sleep(min(poll_s, SECOND_LOOK) if once and seen is not None else poll_s)


def _counts(jobs: dict[Path, str], left: dict[Path, str], seen: dict[str, Seen] | None) -> str:
    """How many jobs are over, and what the others do."""
    if seen is None:
        return "Slurm does not answer (squeue); waiting for it"
    failed = sum(_status(folder).get("state") not in OVER for folder in jobs.keys() - left.keys())
    states = Counter("completing" if seen[job].over else seen[job].told for job in left.values())
    over = len(jobs) - len(left)
    parts = [f"{over} of {len(jobs)} over" + (f" ({failed} not finished)" if failed else "")]
    return ", ".join([*parts, *(f"{count} {state}" for state, count in sorted(states.items()))])


@contextmanager
def _jobs_stay(sweep: Path, jobs: dict[Path, str]) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        ids = _ids(jobs.values())
        raise KeyboardInterrupt(
            f"interrupted; the jobs stay on the cluster: `treg-exp status {sweep} --watch` shows them, "
            f"`scancel {ids or 'ID'}` ends them"
        ) from None


def _ids(jobs: Any) -> str:
    """Ids of whole arrays."""
    return " ".join(sorted({job.partition("_")[0] for job in jobs}, key=int))


def _status_bytes(folder: Path) -> bytes:
    try:
        return RunLayout(folder).status.read_bytes()
    except OSError:
        return b""


def _status(folder: Path) -> dict[str, Any]:
    """What a folder says of itself; nothing where it says nothing, or half."""
    try:
        status = json.loads(_status_bytes(folder) or b"{}")
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _last_word(log: Path) -> str:
    """The line of a job's output that says best why it ended: the last error that is not srun's account of it.

    submitit's lines say only that a signal has come.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_END))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    told = [line.rpartition("\r")[2].strip() for line in reversed(lines)]  # of a progress bar the last state
    told = [line[-300:] for line in told if line and not line.startswith("submitit ")]
    errors = [line for line in told if "error" in line.lower()]
    return next(iter([*(line for line in errors if not line.startswith("srun:")), *errors, *told]), "")


def _say(line: str) -> None:
    print(f"slurm: {line}", file=sys.stderr, flush=True)
