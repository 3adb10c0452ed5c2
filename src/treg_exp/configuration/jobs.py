"""Jobs of a multirun that run elsewhere (joblib, submitit): how the program that started them learns of failures."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any


class FailedJob(float):
    """What a job returns that ended with an expected mistake: no number for a sweeper, and what became of it.

    It travels back with what a launcher returns, so that no sweep ends because of it, as an exception would.

    Attributes:
        message: the mistake.
        code: exit code of the program.
        process: in which the job ran.
    """

    message: str
    code: int
    process: int

    @classmethod
    def of(cls, message: str, code: int) -> FailedJob:
        """A job of this process."""
        job = cls("nan")
        job.message, job.code, job.process = message, code, os.getpid()
        return job


def watch_jobs(exit_codes: list[int]) -> None:
    """Make every launcher of Hydra say which of its jobs have failed, whatever process or machine they ran on.

    Hydra has no hook at this place, hence the patch of a class; a test notices when it no longer works.

    Args:
        exit_codes: gets those of failed jobs.
    """
    from hydra.core.plugins import Plugins

    make: Callable[..., Any] = Plugins.instantiate_launcher
    if hasattr(make, "__wrapped__"):
        return

    @functools.wraps(make)
    def watched(*args: Any, **kwargs: Any) -> Any:
        launcher = make(*args, **kwargs)
        launch = launcher.launch

        def launch_and_look(*given: Any, **named: Any) -> Any:
            jobs = launch(*given, **named)
            for job in jobs:
                failed = getattr(job, "_return_value", None)  # reading `return_value` raises what the job raised
                if isinstance(failed, FailedJob):
                    exit_codes.append(failed.code)
                    if failed.process != os.getpid():  # else the job has said it here
                        print(f"error: the job {' '.join(job.overrides)}: {failed.message}", file=sys.stderr)
            return jobs

        launcher.launch = launch_and_look
        return launcher

    Plugins.instantiate_launcher = watched  # type: ignore[method-assign]
