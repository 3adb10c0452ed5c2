"""A job that fails in another process is a failure of the program that started it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.plugins import Plugins

from tests.conftest import ROOT
from treg_exp.configuration import command_line
from treg_exp.configuration.jobs import FailedJob, watch_jobs
from treg_exp.errors import ConfigError, RunFailedError

#: A launcher of Hydra whose jobs run in another process, as joblib's do.
ELSEWHERE = """
import os, pickle
from hydra._internal.core_plugins.basic_launcher import BasicLauncher

class Elsewhere(BasicLauncher):
    def launch(self, job_overrides, initial_job_idx):
        source, sink = os.pipe()
        if not os.fork():
            with os.fdopen(sink, "wb") as file:
                pickle.dump(super().launch(job_overrides, initial_job_idx), file)
            os._exit(0)
        os.close(sink)
        with os.fdopen(source, "rb") as file:
            return pickle.load(file)
"""


def test_jobs_of_another_process_decide_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "elsewhere.py").write_text(ELSEWHERE)
    command = ["-m", "experiment=single", "guidance.scale=-1,-2", f"run_dir={tmp_path}/r"]
    command += ["hydra.launcher._target_=hydra_plugins.elsewhere.Elsewhere"]
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "run.py", *command], cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    for scale in (-1, -2):
        told = f"guidance.scale={scale}: must be >= 0 "
        assert f"error: the job experiment=single guidance.scale={scale} " in done.stderr
        assert done.stderr.count(told) == 2  # by the job itself, and by the program that started it
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("error", "code"), [(ConfigError("x=1: no"), 2), (RunFailedError("2 of 3 failed"), 1)])
def test_a_failed_job_survives_the_way_back(error: Exception, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no number for a sweeper, and in this process it counts at once."""
    monkeypatch.setattr(command_line, "_exit_codes", codes := [])

    def fail(cfg: object) -> float:
        raise error

    failed = pickle.loads(pickle.dumps(command_line.run_job(fail, None)))
    assert isinstance(failed, FailedJob)
    assert failed != failed
    assert (failed.message, failed.code, failed.process) == (str(error), code, os.getpid())
    assert codes == [code]
    assert command_line.run_job(lambda cfg: 21.5, None) == 21.5


def test_a_failed_job_counts_whatever_the_number_of_its_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On another machine it may be that of this one; only the message needs to know whether it was told here."""
    here, there = FailedJob.of("x=1: no", 2), FailedJob.of("1 of 3 failed", 1)
    there.process += 1
    jobs = [SimpleNamespace(_return_value=value, overrides=["a=1"]) for value in (here, there, 21.5, None)]
    launcher = SimpleNamespace(launch=lambda: jobs)
    monkeypatch.setattr(Plugins, "instantiate_launcher", lambda: launcher)
    watch_jobs(codes := [])
    assert Plugins.instantiate_launcher().launch() == jobs
    assert codes == [2, 1]
    assert capsys.readouterr().err == "error: the job a=1: 1 of 3 failed\n"
