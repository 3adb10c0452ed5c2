"""Starts programs quickly: one process imports everything once, and forks a child for every start.

So a start costs a second and not ten, and a child that is killed takes nothing with it.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

# Reads lines of JSON. {"call": "module:function", ...} forks a child that calls it, and answers with its process id;
# {"poll": process id} answers with how it ended, or with -1 while it runs. "before" is called in the child first, and
# imitates a fault.
PROGRAM = """
import atexit, importlib, json, os, signal, sys, traceback
import torch, lightning, diffusers, transformers
import treg_exp.app, treg_exp.engine.module, treg_exp.engine.writer, treg_exp.engine.loading
import treg_exp.program, treg_exp.reports.grid, treg_exp.sweeps.sweeping, treg_exp.sweeps.search.study

def named(name):
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)

def child(order):
    sys.stdin.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background has it ignored
    for number, name in ((1, "output"), (2, "errors")):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.path[:0] = filter(None, order["env"].get("PYTHONPATH", "").split(os.pathsep))
    sys.argv[:] = ["run.py"]
    try:
        if order["before"]:
            named(order["before"][0])(*order["before"][1:])
        return named(order["call"])(order["arguments"])
    except SystemExit as end:
        return end.code
    except KeyboardInterrupt:
        return 130
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()

for line in sys.stdin:
    order = json.loads(line)
    if "poll" in order:
        pid, how = os.waitpid(order["poll"], os.WNOHANG)
        print(how if pid else -1, flush=True)
        continue
    if not (pid := os.fork()):
        os._exit(child(order) or 0)
    print(pid, flush=True)
"""
PROGRAM_OF_USERS = "treg_exp.program:run_program"
Before = Sequence[Any] | None  # a function as module:name, and its arguments


@dataclass
class Child:
    """One start.

    Attributes:
        pid: its process id.
        output: file of what it prints.
        errors: file of what it prints as errors, the same one unless asked otherwise.
    """

    nursery: Nursery
    pid: int
    output: Path
    errors: Path
    code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative where a signal ended it; None while it runs."""
        if self.code is None and (how := self.nursery.ask(poll=self.pid)) >= 0:
            self.code = os.waitstatus_to_exitcode(how)
        return self.code

    def wait(self, timeout: float = 600) -> int:
        """The same at its end, which is forced after some seconds."""
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                self.stop(signal.SIGKILL)
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout, self.text)
            time.sleep(0.02)
        return code

    def stop(self, number: int) -> None:
        """Send a signal; it may be over already."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    @property
    def text(self) -> str:
        """What it has printed."""
        return self.output.read_text() if self.output.is_file() else ""


@dataclass
class Nursery:
    """See the module.

    Attributes:
        folder: of what the children print; they work there, too.
    """

    folder: Path
    started: int = 0
    process: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=environment(),
        )  # fmt: skip

    def start(
        self, arguments: Sequence[str], call: str = PROGRAM_OF_USERS, before: Before = None, cwd: Path | None = None,
        env: Mapping[str, str] | None = None, apart: bool = False,
    ) -> Child:  # fmt: skip
        """Start something, by default what ``run.py`` does with these arguments, in the environment of now.

        ``apart`` keeps its errors apart.
        """
        self.started += 1
        output, cwd = self.folder / f"output-{self.started}", cwd or self.folder
        errors = output.with_name(f"errors-{self.started}") if apart else output
        pid = self.ask(
            call=call, arguments=list(map(str, arguments)), before=before, output=str(output), errors=str(errors),
            cwd=str(cwd), env=dict(environment() if env is None else env),
        )  # fmt: skip
        return Child(self, pid, output, errors)

    def run(self, arguments: Sequence[str], before: Before = None) -> Child:
        """Start it and wait for its end."""
        child = self.start(arguments, before=before)
        child.wait()
        return child

    def ask(self, **order: Any) -> int:
        print(json.dumps(order), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, "the nursery has ended"
        return int(line)


def environment() -> dict[str, str]:
    """That of the tests, in which their modules are found."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


@cache
def the_nursery() -> Nursery:
    """One for all tests of this process, to its end."""
    made = Nursery(Path(tempfile.mkdtemp(prefix="treg-exp-tests-")))

    def end() -> None:
        made.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            made.process.wait(timeout=60)
        made.process.send_signal(signal.SIGKILL)
        shutil.rmtree(made.folder, ignore_errors=True)

    atexit.register(end)
    return made
