"""Starting, watching and ending processes, with some that do nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.proc import alive, gone
from treg_exp.engine.processes import ProcessLostError, Workers

SLEEP = ("-c", "import time; time.sleep(600)")


def check_until_lost(workers: Workers) -> None:
    for _ in range(1000):
        workers.check()
        time.sleep(0.02)


def test_without_further_processes_nothing_happens() -> None:
    with Workers([]) as workers:
        workers.check()
        workers.wait()


def test_all_processes_are_waited_for(tmp_path: Path) -> None:
    command = ("-c", "import sys, time; time.sleep(0.3); open(sys.argv[1], 'w')")
    with Workers([(*command, str(tmp_path / name)) for name in "ab"]) as workers:
        workers.check()
        workers.wait()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("look", [check_until_lost, Workers.wait])
@pytest.mark.parametrize(
    ("ending", "code", "interrupted"),
    [
        ("import sys; sys.exit(3)", 3, False),
        ("import os; os.kill(os.getpid(), 9)", -9, False),
        ("import os; os.kill(os.getpid(), 15)", -15, True),
    ],
)
def test_a_lost_process_is_named_and_the_others_end(
    look: Callable[[Workers], None], ending: str, code: int, interrupted: bool
) -> None:
    with Workers([SLEEP, ("-c", ending)]) as workers:
        assert workers.context is not None
        pids = list(workers.context.pids().values())
        with pytest.raises(ProcessLostError, match=f"process 2 of the run ended with code {code}; the same ") as lost:
            look(workers)
        assert lost.value.interrupted is interrupted
        assert ("when the memory is used up" in str(lost.value)) == (code == -9)
        assert not any(map(alive, pids))


def test_leaving_ends_the_processes_and_keeps_the_handlers() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    with Workers([SLEEP]) as workers:
        assert workers.context is not None
        (pid,) = workers.context.pids().values()
        assert alive(pid)
        assert os.getpgid(pid) == pid  # Ctrl-C in a terminal does not reach it
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before
    assert not alive(pid)


def test_a_process_imports_what_the_first_one_imports_and_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here", "package"):
        (tmp_path / folder).mkdir()
    (tmp_path / "here" / "lightning.py").write_text("raise SystemExit(9)")
    (tmp_path / "package" / "my_lab.py").write_text("")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend(str(tmp_path / "package"))
    code = "import importlib.util as u, sys; sys.exit('here' in u.find_spec('lightning').origin)"
    with Workers([("-c", f"import my_lab; {code}"), ("-m", "my_lab")]) as workers:
        workers.wait()


FIRST = """
import os, sys, time
from treg_exp.engine.processes import Workers
with Workers([("-c", sys.argv[1], str(os.getpid()))]) as workers:
    print(*workers.context.pids().values(), flush=True)
    time.sleep(600)
"""
MOMENTS = {
    "before it could ask for it": "print('ready', flush=True); time.sleep(1); end_with(int(sys.argv[1]))",
    "while it imports": "end_with(int(sys.argv[1])); print('ready', flush=True); import torch, lightning",
    "while it works": "end_with(int(sys.argv[1])); print('ready', flush=True)",
}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next step of the solver finds out")
@pytest.mark.parametrize("moment", MOMENTS)
def test_no_process_outlives_the_first_one(moment: str) -> None:
    program = f"import sys, time; from treg_exp.worker import end_with; {MOMENTS[moment]}; time.sleep(600)"
    first = subprocess.Popen([sys.executable, "-c", FIRST, program], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    pid, ready = sorted(first.stdout.readline() for _ in range(2))  # the two processes write in either order
    assert ready == "ready\n"
    first.kill()
    first.wait()
    assert gone(int(pid))


def test_a_stopped_process_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """It would be waited for without a word."""
    with Workers([("-c", "import time; time.sleep(0.5)")]) as workers:
        assert workers.context is not None
        (pid,) = workers.context.pids().values()
        os.kill(pid, signal.SIGSTOP)
        for _ in range(20):
            workers.check()
            time.sleep(0.02)
        os.kill(pid, signal.SIGCONT)
        workers.wait()
    told = f"process 1 of the run is stopped and waited for; `kill -CONT {pid}` lets it go on\n"
    assert capsys.readouterr().err == told
