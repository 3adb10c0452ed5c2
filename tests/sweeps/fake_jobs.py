"""Jobs for tests of the pool: a run folder's file ``do`` says what its job does. Nothing heavy is imported."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from treg_exp.engine.status import here, read_status, write_status


def plan(folder: Path, *dos: str) -> list[Path]:
    """Run folders of jobs that do this."""
    folders = [folder / f"{number}-{do.split()[0]}" for number, do in enumerate(dos)]
    for each, do in zip(folders, dos, strict=True):
        each.mkdir(parents=True)
        (each / "do").write_text(do)
    return folders


def trace(folder: Path) -> list[dict]:
    """What each try of a job has noted."""
    file = folder / "trace"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def work(folder: Path) -> int:
    """Do what the file says, and write a status as a run does."""
    do, start = (folder / "do").read_text().split(), time.time()
    print(f"this is {folder.name}")
    os.write(2, b"and this a library\n")
    status = {**here(), "state": "running", "expected": 2, "finished": 0, "failed": 0, "begun_with": 0}
    if do[0] != "nostatus":
        write_status(folder, status)
    with (folder / "trace").open("a") as file:
        note = {"pid": os.getpid(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "start": start}
        note |= {"threads": os.environ.get("OMP_NUM_THREADS")}
        file.write(json.dumps(note) + "\n")
    try:
        _wait(folder, do[1:])
        code = _do(do[0])
    except KeyboardInterrupt:
        write_status(folder, {**status, "state": "interrupted", "exit_code": 130})
        raise
    ended = {0: "finished", 1: "failed", 2: "failed"}[code]
    found = {"finished": 2 if code == 0 else 1 if do[0] == "some" else 0, "exit_code": code}
    write_status(folder, {**status, **found, "state": ended, **({"error": "no good"} if code else {})})
    return code


def _wait(folder: Path, until: list[str]) -> None:
    """``600``: seconds. ``begun 2``: until so many jobs have begun. ``over NAME``: until another one has ended."""
    if not until:
        return
    if until[0] not in ("begun", "over"):
        time.sleep(float(until[0]))
        return
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if until[0] == "begun" and len(list(folder.parent.glob("*/trace"))) >= int(until[1]):
            return
        if until[0] == "over" and read_status(folder.parent / until[1]).state in ("finished", "failed"):
            return
        time.sleep(0.02)
    raise TimeoutError(until)


def _do(what: str) -> int:
    if what in ("kill", "nostatus"):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "crash":
        ctypes.string_at(0)
    if what == "exit":
        os._exit(7)
    if what == "raise":
        raise ArithmeticError("unexpected")
    if what == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if what == "gpu":
        sys.modules["torch"] = BROKEN
        return 1
    return {"finish": 0, "fail": 1, "some": 1, "wrong": 2}[what]


def _fails() -> None:
    raise RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later")


#: What torch is like after an error of the GPU that lasts as long as the process.
BROKEN = SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: True, synchronize=_fails))


def nothing() -> None:
    """Imports nothing."""


def no_module() -> None:
    """A process that cannot get ready."""
    os._exit(3)
