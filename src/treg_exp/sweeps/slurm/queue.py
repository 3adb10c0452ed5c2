"""What Slurm says about jobs, in its own words: squeue while it knows them, scontrol and sacct when they are over."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

#: States from which a job does not come back. A requeued job may show one for a moment.
OVER = (
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT", "GONE",
)  # fmt: skip
ANSWER_SECONDS = 60.0  # of one command; a busy controller takes its time
LARGEST_ARRAY = 1001  # Slurm's default for MaxArraySize


@dataclass(frozen=True)
class Seen:
    """A job as squeue shows it.

    Attributes:
        state: Slurm's word, such as PENDING; GONE where Slurm no longer knows the job.
        reason: why it waits.
    """

    state: str
    reason: str = ""

    @property
    def over(self) -> bool:
        """Whether it ends here."""
        return self.state in OVER

    @property
    def told(self) -> str:
        """For people: its state, and why it waits."""
        waits = self.state == "PENDING" and self.reason not in ("", "None")
        return f"{self.state.lower()} ({self.reason})" if waits else self.state.lower()


def look(jobs: Iterable[str]) -> dict[str, Seen] | None:
    """Ask Slurm for the states of jobs.

    Args:
        jobs: ids, those of an array as ``123_4``.

    Returns:
        What is known of each of them; None where Slurm does not answer now.
    """
    jobs = list(jobs)
    arrays = sorted({job.partition("_")[0] for job in jobs}, key=int)
    if not arrays:
        return {}
    answer = _ask("squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r", f"--jobs={','.join(arrays)}")
    if answer is None or (answer.returncode and "Invalid job id" not in answer.stderr):
        return None
    lines = (line.split("|", 2) for line in answer.stdout.splitlines())
    found = {line[0].strip(): Seen(line[1], line[2]) for line in lines if len(line) == 3}
    return {job: found.get(job, Seen("GONE")) for job in jobs}


def words_about(job: str, seen: Seen) -> str:
    """What became of a job that is over: state, exit code, reason and node.

    Args:
        job: its id.
        seen: how squeue showed it last, for where nothing else is known.
    """
    answer = _ask("scontrol", "show", "job", "--oneliner", job)
    if answer is not None and not answer.returncode:
        told = dict(re.findall(r"(\w+)=(\S+)", answer.stdout))
        parts = [told.get("JobState", seen.state)]
        reason = told.get("Reason", "None")
        # of a job that ran, the reason may be that for which it waited before
        parts += [f"reason {reason}"] if reason not in ("None", "BeginTime", "Priority", "JobArrayTaskLimit") else []
        parts += [f"exit code {told['ExitCode']}"] if told.get("ExitCode", "0:0") != "0:0" else []
        parts += [f"on {told['NodeList']}"] if told.get("NodeList", "(null)") != "(null)" else []
        return ", ".join(parts)
    answer = _ask("sacct", "--allocations", "--noheader", "--parsable2", "--format=State,ExitCode,NodeList", "-j", job)
    if answer is not None and not answer.returncode and answer.stdout.strip():
        state, code, nodes = [*answer.stdout.splitlines()[0].split("|"), "", ""][:3]
        return f"{state}, exit code {code}, on {nodes}"
    return seen.state if seen.state != "GONE" else "over, and Slurm no longer knows it"


def largest_array() -> int:
    """How many jobs an array may have on this cluster."""
    answer = _ask("scontrol", "show", "config")
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", answer.stdout) if answer is not None else None
    return max(1, int(found[1]) - 1 if found else LARGEST_ARRAY - 1)


def _ask(*command: str) -> subprocess.CompletedProcess[str] | None:
    """The answer of a command; None where it is not installed or takes too long."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
