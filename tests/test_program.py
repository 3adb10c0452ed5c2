"""``treg-exp run`` is ``run.py`` with the configuration that the package brings along."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT
from treg_exp.configuration.folder import config_folder

PROGRAM = [sys.executable, "-m", "treg_exp.cli", "run"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def said(*command: str, cwd: Path, code: int = 0, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def test_the_folder_of_the_configuration() -> None:
    assert (config_folder() / "config.yaml").is_file()
    assert config_folder() == ROOT / "conf"


def test_it_is_run_py(tmp_path: Path) -> None:
    asked = ["experiment=best/treg", "solver.steps=3", "--cfg", "job"]
    assert said(*PROGRAM, *asked, cwd=tmp_path) == said(sys.executable, str(ROOT / "run.py"), *asked, cwd=tmp_path)
    wrong = said(*PROGRAM, "experiment=nope", cwd=tmp_path, code=2)
    assert wrong.startswith(
        "error: experiment=nope: no such option. Available: edit, quickstart, single, benchmark/..., best/..."
    )


def test_help_names_options_as_they_are_typed(tmp_path: Path) -> None:
    lines = said(*PROGRAM, "--help", cwd=tmp_path).splitlines()
    (experiments,) = (line for line in lines if line.startswith("experiment: "))
    assert "single" in experiments
    assert "best/treg_sr_x8" in experiments.split(": ")[1].split(", ")
    assert not [line for line in lines if line.startswith(("experiment/", "task/", "recipe/"))]
    assert "solver/prox: cg, cg_latino, descent, exact" in lines


def test_a_shell_completes_them(tmp_path: Path) -> None:
    line = "treg-exp run experiment=best/treg_sr"
    asked = [sys.executable, "-m", "treg_exp.cli", "-sc", "query=bash"]
    found = said(*asked, cwd=tmp_path, COMP_LINE=line, COMP_POINT=str(len(line)))
    assert found.split() == ["experiment=best/treg_sr_x16", "experiment=best/treg_sr_x8"]


@pytest.mark.slow
def test_the_wheel_runs_in_an_empty_folder(tmp_path: Path) -> None:
    """Built for real; the other packages are those of this installation."""
    source, python = tmp_path / "source", tmp_path / "venv/bin/python"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in files.rstrip("\0").split("\0"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).symlink_to(ROOT / name)
    build = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-q", "-w", str(tmp_path)]
    subprocess.run([*build, str(source)], check=True)
    venv.create(tmp_path / "venv", with_pip=False)
    (site,) = (tmp_path / "venv/lib").glob("*/site-packages")
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True)
    (site / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    (tmp_path / "empty").mkdir()
    program = [str(python), "-m", "treg_exp.cli", "run"]
    folder = said(str(python), "-c", "import treg_exp; print(treg_exp.__file__)", cwd=tmp_path / "empty", PYTHONPATH="")
    assert folder.startswith(str(site))
    wishes = ["prior=tiny_random", "data.limit=1", "solver.steps=2", "logger=csv", "metrics=residual", "run_dir=run"]
    assert "results: run" in said(*program, "experiment=single", *wishes, cwd=tmp_path / "empty", PYTHONPATH="")
    assert {path.name for path in (tmp_path / "empty").iterdir()} == {"run"}
