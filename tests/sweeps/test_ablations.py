"""Every grid of conf/ablation: it asks a question, and all of its runs can be made."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from tests.conftest import ROOT
from tests.test_config import composed
from treg_exp.configuration.identity import config_hash
from treg_exp.configuration.settings import prepared
from treg_exp.experiment import Experiment

ABLATIONS = sorted((ROOT / "conf" / "ablation").glob("*.yaml"))
BASE = ["prior=tiny_random", "metrics=residual", "logger=csv", "data.limit=1"]


@pytest.mark.parametrize("file", ABLATIONS, ids=lambda file: file.stem)
def test_every_run_of_a_grid_can_be_made_and_is_another_one(file: Path) -> None:
    params = OmegaConf.load(file).params
    parsed = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
    (grid,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    assert len(grid) >= 2
    configurations = [composed(*BASE, *combination) for combination in grid]
    assert len({config_hash(prepared(cfg.copy())) for cfg in configurations}) == len(grid)
    for cfg in configurations[:1] + configurations[-1:]:
        Experiment.from_config(cfg)


@pytest.mark.parametrize("file", ABLATIONS, ids=lambda file: file.stem)
def test_a_grid_says_which_question_it_answers(file: Path) -> None:
    head = re.match(r"# @package hydra.sweeper\n((?:# .*\n)+)", file.read_text())
    assert head is not None
    assert "?" in head[1]
    assert f"ablation={file.stem}" in head[1]


#: So that a run takes a second; `steps` is about the first of them.
QUICK = {"solver.steps": "4"}


@pytest.mark.slow
@pytest.mark.parametrize("file", ABLATIONS, ids=lambda file: file.stem)
def test_every_run_of_a_grid_ends(file: Path, tmp_path: Path) -> None:
    """As its head says, for one picture of the smallest prior."""
    params = OmegaConf.load(file).params
    few = [] if "solver.steps" in params else [f"{key}={value}" for key, value in QUICK.items()]
    if file.stem in ("solver", "rivals"):
        few = []  # the baselines have no steps, and LMAP's are those of its optimiser
    command = [sys.executable, str(ROOT / "run.py"), "-m", "experiment=single", f"ablation={file.stem}", *BASE, *few]
    folder = tmp_path / "sweep"
    done = subprocess.run([*command, f"run_dir={folder}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    statuses = [json.loads(path.read_text()) for path in folder.glob("*/status.json")]
    assert len(statuses) >= 2
    assert {(status["state"], status["finished"]) for status in statuses} == {("finished", 1)}


def test_a_grid_without_m_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "run.py"), "experiment=single", "ablation=seeds"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: this experiment is a grid of runs (hydra.sweeper.params): start it with -m\n"
    assert list(tmp_path.iterdir()) == []
