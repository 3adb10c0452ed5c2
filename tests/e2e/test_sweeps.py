"""Sweeps as a user starts them: what is missing is started, what became of a job is said, whoever ran it."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests import warm
from tests.conftest import DATA, ROOT
from treg_exp.run_layout import RunLayout, key_of, read_rows

TINY = [
    f"prior.path={DATA}/parity/tiny_model", "data.image_size=64", "null_text=off", "logger=csv", "experiment=single",
    "metrics=residual", "solver.steps=2", "data.limit=2", "trainer.accelerator=cpu",
]  # fmt: skip
#: A launcher of Hydra whose jobs run in another process, as joblib's do.
ELSEWHERE = """
import os, pickle
from hydra._internal.core_plugins.basic_launcher import BasicLauncher

class Elsewhere(BasicLauncher):
    def launch(self, job_overrides, initial_job_idx):
        child = os.fork()
        if not child:
            super().launch(job_overrides, initial_job_idx)
            os._exit(0)
        os.waitpid(child, 0)
        return []
"""


def program(*arguments: str, code: int = 0, tool: tuple[str, ...] = (str(ROOT / "run.py"), "-m"), **kwargs) -> str:
    done = warm.run([sys.executable, *tool, *arguments], check=False, **kwargs)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def treg_exp(*arguments: str, code: int = 0, **kwargs) -> str:
    return program(*arguments, code=code, tool=("-m", "treg_exp.cli"), **kwargs)


def states(folder: Path) -> dict[str, str]:
    """By what tells the jobs apart."""
    command = [sys.executable, "-m", "treg_exp.cli", "status", str(folder), "--json"]
    found = json.loads(warm.run(command, check=False).stdout)
    return {row["label"]: row["state"] for row in found}


def times(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in folder.glob("*/samples/**/*.png")}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> tuple[Path, str]:
    """Three jobs, the one in the middle with a wrong value."""
    folder = tmp_path_factory.mktemp("sweep") / "scale"
    return folder, program(*TINY, "guidance.scale=1,-1,3", f"run_dir={folder}", code=2)


def test_a_wrong_job_does_not_stop_the_others_and_is_named(sweep: tuple[Path, str]) -> None:
    folder, said = sweep
    ended = {"guidance.scale=1": "finished", "guidance.scale=-1": "failed", "guidance.scale=3": "finished"}
    assert states(folder) == ended
    assert "2 finished, 1 failed" in said
    assert "(guidance.scale=-1): guidance.scale=-1: must be >= 0" in said
    assert treg_exp("status", str(folder), code=1).count("guidance.scale=-1: must be") == 1


def test_the_same_command_starts_what_is_missing_alone(sweep: tuple[Path, str]) -> None:
    folder, _ = sweep
    before = times(folder)
    said = program(*TINY, "guidance.scale=1,-1,3", f"run_dir={folder}", code=2)
    assert said.count("job 1 of 1") == 1
    said = program(*TINY, "guidance.scale=1,3,4", f"run_dir={folder}")  # the grid grows
    assert said.count("job 1 of 1") == 1
    assert {file: stamp for file, stamp in times(folder).items() if file in before} == before
    assert len(states(folder)) == 4
    lines = list(csv.DictReader((folder / "comparison.csv").open()))
    assert [(line["guidance.scale"], line["variant"]) for line in lines] == [(scale, "own") for scale in "134"]
    for line in lines:
        summary = json.loads((folder / line["run"] / "summary.json").read_text())
        value = summary["variants"]["own"]["metrics"]["residual"]
        assert [float(line[f"residual{kind}"]) for kind in ("", "_low", "_high")] == list(value.values())[:3]
    assert "3 jobs of scale\n" in said
    assert "6 restorations of 2 images" in " ".join(said.split())


def test_finished_jobs_cost_milliseconds(sweep: tuple[Path, str]) -> None:
    """Nothing is composed, and torch is not imported."""
    folder, _ = sweep
    arguments = [*TINY, "guidance.scale=1,3,4", f"run_dir={folder}"]
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as error: assert not error.code\n"
        "assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", code, str(ROOT / "run.py"), "-m", *arguments]
    assert "3 finished" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_planned_job_stays_what_it_was(tmp_path: Path) -> None:
    """Whatever is changed while it waits; here nothing but the plan is left of the command."""
    conf, folder = tmp_path / "mine", tmp_path / "sweep"
    (conf / "task").mkdir(parents=True)
    (conf / "task" / "mine.yaml").write_text((ROOT / "conf/task/sr_x8.yaml").read_text())
    said = program(
        f"--config-dir={conf}", *TINY, "task=mine", "seed=0,1", f"run_dir={folder}", "+hydra.launcher.x=1", code=2
    )
    assert "hydra.launcher.x: OneByOne takes no such value" in said
    program(f"--config-dir={conf}", *TINY, "task=mine", "seed=0,1", f"run_dir={folder}", "solver.steps=0", code=2)
    assert set(states(folder).values()) == {"failed"}
    for job in folder.glob("*/job.yaml"):
        text = job.read_text()
        assert "steps: 0" in text
        job.write_text(text.replace("steps: 0", "steps: 2"))
    (conf / "task" / "mine.yaml").unlink()
    treg_exp("resume", str(folder), cwd=tmp_path)
    assert set(states(folder).values()) == {"finished"}
    assert {OmegaConf.load(RunLayout(job.parent).config).seed for job in folder.glob("*/job.yaml")} == {0, 1}


@pytest.mark.slow
def test_resume_after_a_kill_continues_by_sample(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    command = [sys.executable, str(ROOT / "run.py"), "-m", *TINY, "draws=3", "data.batch_size=1", "seed=0,1"]
    process = warm.Popen([*command, "run_dir=sweep"], cwd=tmp_path)
    while not any(len(read_rows(run)) >= 2 for run in folder.glob("*")):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    kept = {run.name: read_rows(run) for run in folder.glob("*") if run.is_dir()}
    assert sorted(states(folder).values()) == ["queued", "stale"]
    treg_exp("resume", "sweep", cwd=tmp_path)
    assert set(states(folder).values()) == {"finished"}
    for run, rows in kept.items():
        now = read_rows(folder / run)
        assert len({key_of(row) for row in now}) == len(now) == 6
        assert [row for row in now if row in rows] == rows
    assert "hydra/launcher" in treg_exp("resume", "sweep", "seed=3", code=2, cwd=tmp_path)
    (lonely := folder / next(iter(kept))).rename(tmp_path / "lonely")
    assert not lonely.exists()
    assert "nothing to do" in treg_exp("resume", "lonely", cwd=tmp_path)


def test_jobs_of_another_launcher_report_through_their_folders(tmp_path: Path) -> None:
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "elsewhere.py").write_text(ELSEWHERE)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    said = program(
        *TINY, "guidance.scale=-1,2", f"run_dir={tmp_path}/r",
        "hydra.launcher._target_=hydra_plugins.elsewhere.Elsewhere", code=2, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert states(tmp_path / "r") == {"guidance.scale=-1": "failed", "guidance.scale=2": "finished"}
    assert "1 finished" in said
    assert "Traceback" not in said


def test_the_jobs_of_another_sweeper_are_planned_too(tmp_path: Path) -> None:
    basic = [*TINY, "hydra/sweeper=basic", f"run_dir={tmp_path}/r"]
    program(*basic, "seed=0,1", "dry_run=true")
    assert not (tmp_path / "r" / "sweep.json").exists()
    program(*basic, "seed=0,1", "guidance.scale=1,-1", code=2)
    assert sorted(states(tmp_path / "r").values()) == ["failed", "failed", "finished", "finished"]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    said = program(*TINY, "seed=0,1", "dry_run=true", cwd=tmp_path)
    assert said.count("restorations: 2") == 2
    folders = set(re.findall(r"run_dir: +(runs/sweep-\w+/\w+)\n", said))
    assert list(tmp_path.iterdir()) == []
    program(*TINY, "seed=0,1", cwd=tmp_path)
    assert {str(file.parent.relative_to(tmp_path)) for file in tmp_path.glob("runs/*/*/results.csv")} == folders


def test_a_sweep_in_every_process_of_a_launcher_is_refused(tmp_path: Path) -> None:
    ranks = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    said = program(*TINY, "seed=0,1", code=2, cwd=tmp_path, env={**os.environ, **ranks})
    assert said.startswith("error: -m: start the sweep once")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_sweep_stops_and_says_how_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "run.py"), "-m", *TINY, "draws=3", "data.batch_size=1", "seed=0,1"]
    process = warm.Popen([*command, "run_dir=sweep"], cwd=tmp_path)
    while not any(read_rows(run) for run in (tmp_path / "sweep").glob("*")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command continues with what is missing" in said
    assert sorted(states(tmp_path / "sweep").values()) == ["interrupted", "queued"]


def test_a_folder_is_kept_for_what_was_planned(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    program(*TINY, "seed=0,1", "solver.steps=0", f"run_dir={folder}", code=2)
    job = next(folder.glob("*/job.yaml")).parent
    said = program(*TINY, "seed=9", f"run_dir={job}", code=2, tool=(str(ROOT / "run.py"),))
    assert f"error: run_dir={job} is planned for other settings, see its job.yaml" in said


def test_an_interval_is_no_grid(tmp_path: Path) -> None:
    said = program(*TINY, "guidance.scale=interval(1,8)", code=2, cwd=tmp_path)
    assert said.startswith("error: guidance.scale=interval(1,8): a grid needs single values, as guidance.scale=1,2,5; ")
    assert "hydra/sweeper=optuna_search" in said


def test_the_table_is_that_of_the_jobs_as_they_are(sweep: tuple[Path, str]) -> None:
    """Also where somebody else has finished one of them."""
    folder, _ = sweep
    arguments = [*TINY, "guidance.scale=1,3", f"run_dir={folder}"]
    program(*arguments)
    job = next(line["run"] for line in csv.DictReader((folder / "comparison.csv").open()))
    summary = json.loads((folder / job / "summary.json").read_text())
    summary["variants"]["own"]["metrics"]["residual"]["mean"] = 77.123
    (folder / job / "summary.json").write_text(json.dumps(summary))
    assert "77.123" in program(*arguments)
