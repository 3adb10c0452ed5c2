"""A run is not ended by a reader that goes away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from treg_exp.configuration import command_line
from treg_exp.configuration.output import Output
from treg_exp.errors import RunFailedError


@pytest.fixture(params=["stdout", "stderr"])
def closed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """A pipe in place of the stream, whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "argv", ["run.py"])
    monkeypatch.setattr(command_line, "_exit_codes", [])
    for name in ("hydra_guard.install_guard",):  # they change Hydra for good
        monkeypatch.setattr(f"treg_exp.configuration.{name}", lambda given: None)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # so that what the program sets is undone afterwards
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, request.param, stream)
        yield stream


@pytest.mark.parametrize(("error", "code"), [(None, 0), (RunFailedError("1 of 2 failed"), 1), (BrokenPipeError(), 1)])
def test_what_counts_is_the_job_and_not_who_reads(closed, error: Exception | None, code: int) -> None:
    """A pipe that is none of the two streams is an error as any other."""
    done = []

    def job(cfg: object) -> float:
        print("much" * 10_000, flush=True)
        print("much" * 10_000, file=sys.stderr)
        done.append(cfg)
        if error is not None:
            raise error
        return 1.0

    assert command_line.exit_code_of(lambda: command_line.run_job(job, {"seed": 1})) == code
    assert done == [{"seed": 1}]
    assert not isinstance(sys.stdout, Output)
    closed.flush()  # leads nowhere now


def test_a_program_without_output_writes_into_no_other_file(tmp_path: Path) -> None:
    """The next file that is opened would get the number of stdout, and what a further process prints."""
    code = f"""
import os, sys
from treg_exp.configuration.output import output_that_stops_nothing
with output_that_stops_nothing():
    with open({str(tmp_path / "file")!r}, "w") as file:
        os.system("echo told")
        print("told", sys.stderr.isatty())
        print("told", file=sys.stderr)
        file.write("mine")
"""
    command = f"{sys.executable} -c '{code.replace(chr(39), chr(34))}' >&- 2>&-"
    assert subprocess.run(command, shell=True, cwd=ROOT, check=False).returncode == 0
    assert (tmp_path / "file").read_text() == "mine"
