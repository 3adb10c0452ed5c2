"""Starts run.py many times: one process imports everything once, and forks a child for every start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import DATA, ROOT

TINY = [
    f"prior.path={DATA}/parity/tiny_model", "data.image_size=64", "null_text=off", "logger=csv", "experiment=single",
    "metrics=residual", "solver.steps=3", "data.limit=3", "data.batch_size=1", "trainer.accelerator=cpu",
]  # fmt: skip
# Reads lines of JSON: [log, argument, ...] starts run.py in a child and answers with its process id; a process id
# waits for that child and answers with its exit code.
NURSERY = """
import json, os, runpy, signal, sys
import torch, lightning, diffusers, transformers, optuna
import treg_exp.app, treg_exp.engine.module, treg_exp.engine.writer, treg_exp.engine.loading
import treg_exp.engine.trial_report, treg_exp.sweeps.search.study, treg_exp.sweeps.search
for line in sys.stdin:
    order = json.loads(line)
    if isinstance(order, int):
        print(os.waitstatus_to_exitcode(os.waitpid(order, 0)[1]), flush=True)
        continue
    child = os.fork()
    if not child:
        sys.stdin.close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(order[0], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["run.py", *order[1:]]
        code = 1
        try:
            runpy.run_path("run.py", run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    print(child, flush=True)
"""


@dataclass
class Program:
    """One start of run.py.

    Attributes:
        pid: its process id.
        log: file of what it prints.
    """

    nursery: Nursery
    pid: int
    log: Path

    def wait(self) -> int:
        return self.nursery.ask(self.pid)

    @property
    def said(self) -> str:
        return self.log.read_text()


class Nursery:
    """Starts run.py quickly; see ``NURSERY``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=(folder / "errors").open("w"),
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), *sys.path])},
        )  # fmt: skip

    def start(self, *arguments: str) -> Program:
        self.count += 1
        log = self.folder / f"{self.count}.log"
        return Program(self, self.ask([str(log), *arguments]), log)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output."""
        program = self.start(*arguments)
        return program.wait(), program.said

    def ask(self, order: object) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, (self.folder / "errors").read_text()
        return int(line)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
