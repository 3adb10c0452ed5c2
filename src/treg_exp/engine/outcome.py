"""What became of a job of a sweep is in its folder, whatever happened: others learn of it there and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from treg_exp.engine.environment import read_noted
from treg_exp.engine.status import here, is_alive, is_mine, write_status
from treg_exp.errors import ConfigError, PrunedError, RunBusyError
from treg_exp.run_layout import RunLayout

WRONG = 2  # exit code: a setting that cannot work
INTERRUPTED = 130  # exit code, as of a shell
RANKS = ("RANK", "SLURM_PROCID")


def is_job(folder: str | Path | None) -> bool:
    """Whether a run folder is that of a job that a sweep has planned."""
    return folder is not None and RunLayout(Path(folder)).job.is_file()


def is_first() -> bool:
    """Whether this is the first, or the only one, of the processes that a launcher has started."""
    return not any(int(os.environ.get(name) or 0) for name in RANKS)


@contextmanager
def recorded(folder: str | Path | None) -> Iterator[None]:
    """Write into the status of a sweep's job how what is done here ends; of other runs nothing.

    A run writes more itself, once it has opened its folder. What is refused before leaves no other trace.
    """
    if folder is None or not is_job(folder):
        yield
        return
    try:
        yield
    except RunBusyError:  # the status is that of the other process
        raise
    except PrunedError:
        _record(Path(folder), "pruned", 0)
        raise
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        code = INTERRUPTED if interrupted else WRONG if isinstance(error, ConfigError) else 1
        told = str(error)
        if not (interrupted or (isinstance(error, ValueError | RuntimeError | OSError) and told)):
            told = f"{type(error).__name__}: {told}".removesuffix(": ")
        _record(Path(folder), "interrupted" if interrupted else "failed", code, told)
        raise
    else:
        _record(Path(folder), "finished", 0)


def _record(folder: Path, state: str, exit_code: int, error: str = "") -> None:
    if not is_first():
        return
    with suppress(OSError):  # a full disk; then the run has written what could be
        before = read_noted(RunLayout(folder).status)
        if not is_job(folder):
            return  # deleted meanwhile
        if before.get("state") == "running" and not is_mine(before) and is_alive(folder, before):
            return  # another process has begun meanwhile, and what was refused here is not what becomes of the job
        if before.get("state") == "finished" and exit_code == WRONG:
            return  # a start with other settings was refused, and what was finished is so still
        values = {**before, "state": state, "exit_code": exit_code, "error": error}
        write_status(folder, {**here(), **values})
