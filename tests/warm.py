"""`python run.py ...` in a process of its own that need not import everything first.

The file is run as the interpreter would run it, in a fork of a process that has the libraries in memory: that saves
nine of ten seconds. What depends on a fresh interpreter is tested with `subprocess` itself.
"""

from __future__ import annotations

import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.conftest import ROOT
from tests.nursery import the_nursery


def run_file(words: Sequence[str]) -> None:
    """What the interpreter does with ``FILE ARGUMENT...`` or ``-m MODULE ARGUMENT...``; called in the fork."""
    if words[0] == "-m":
        sys.argv[:] = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = words
        runpy.run_path(words[0], run_name="__main__")


class Popen:
    """As much of ``subprocess.Popen`` as the tests use, for a command that begins with ``sys.executable``."""

    def __init__(self, command: Sequence[str], cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
        self.args = list(map(str, command))
        assert self.args[0] == sys.executable
        self.child = the_nursery().start(self.args[1:], "tests.warm:run_file", cwd=cwd, env=env, apart=True)
        self.pid = self.child.pid

    @property
    def returncode(self) -> int | None:
        """None until it is asked for after the end."""
        return self.child.code

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.child.poll()

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        self.child.stop(number)

    def kill(self) -> None:
        """``kill -9``."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 600) -> int:
        """Wait for the end; the exit code."""
        return self.child.wait(timeout)

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """Wait for the end; what it printed, and its errors."""
        self.wait(timeout)
        return self.child.output.read_text(), self.child.errors.read_text()

    def told(self, timeout: float = 600) -> str:
        """Wait for the end; all that it printed."""
        return "".join(self.communicate(timeout))


def run(
    command: Sequence[str], cwd: Path = ROOT, env: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Like ``subprocess.run`` with captured text."""
    process = Popen(command, cwd, env)
    out, err = process.communicate()
    assert not (check and process.returncode), f"{out}\n{err}"
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
