"""Loggers of Lightning keep a copy of a run's numbers, or are refused in one line."""

from __future__ import annotations

import csv
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.test_config import TINY, composed, experiment
from treg_exp.app import run
from treg_exp.engine.lightning_mirror import LightningMirror
from treg_exp.errors import ConfigError
from treg_exp.reports.trajectory import read_trajectories
from treg_exp.run_layout import read_rows

CSV = ["+logger.copy._target_=lightning.pytorch.loggers.CSVLogger"]
SHORT = ["solver.steps=1", "data.limit=3", "data.batch_size=2"]


def go(folder: Path, *overrides: str) -> None:
    cfg = composed(*TINY, *SHORT, "logger=none", *CSV, *overrides)
    cfg.run_dir = str(folder)
    run(cfg)


def test_csv_of_a_run(tmp_path: Path) -> None:
    go(tmp_path / "r", f"+logger.copy.save_dir={tmp_path}", "+logger.copy.name=copy", "trajectory.samples=0")
    rows = list(csv.DictReader((tmp_path / "copy/version_0/metrics.csv").open()))
    assert [row["step"] for row in rows] == ["2", "3", "3"]
    summary = json.loads((tmp_path / "r/summary.json").read_text())["variants"]["own"]["metrics"]
    assert float(rows[-1]["mean/own/psnr"]) == pytest.approx(summary["psnr"]["mean"])
    batches = [float(row["own/psnr"]) for row in rows[:2]]
    assert (2 * batches[0] + batches[1]) / 3 == pytest.approx(summary["psnr"]["mean"])
    assert "steps: 1" in (tmp_path / "copy/version_0/hparams.yaml").read_text()
    go(tmp_path / "s")  # by default within the run folder
    assert (tmp_path / "s/lightning_logs/version_0/metrics.csv").is_file()


def test_a_failing_logger_hides_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr("lightning.pytorch.loggers.CSVLogger.log_metrics", lambda *args, **kwargs: 1 / 0)
    monkeypatch.setattr("treg_exp.app.conclude", lambda experiment: [][0])
    with pytest.raises(IndexError):
        go(tmp_path / "r")
    assert "CSVLogger failed and is off for the rest of this run" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+logger.x._target_=lightning.pytorch.loggers.MLFlowLogger"], "only CSVLogger, TensorBoardLogger"),
        (["+logger.x._target_=treg_exp.metrics.fidelity.PSNR"], "makes no RunMirror"),
        ([*CSV, "+logger.copy.folder=x"], "takes no such value"),
    ],
)
def test_what_is_no_logger_is_refused_by_name(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^logger\.\w+\.\w+.*{message}"):
        experiment(*overrides, "data.limit=1")


def test_curves_of_the_steps_have_the_steps_of_the_solver(tmp_path: Path) -> None:
    go(tmp_path / "r", f"+logger.copy.save_dir={tmp_path}", "+logger.copy.name=copy", "solver.steps=3", "data.limit=1")
    rows = list(csv.DictReader((tmp_path / "copy/version_0/metrics.csv").open()))
    ((sample, variant, _), trajectory), *_ = read_trajectories(tmp_path / "r", read_rows(tmp_path / "r"))
    column = f"trajectory/residual/{variant}/{sample}"
    curve = {int(row["step"]): float(row[column]) for row in rows if row.get(column)}
    assert curve == pytest.approx(dict(zip(*trajectory.curve("residual"), strict=True)))
    assert len(curve) == 3


def test_tensorboard_is_an_option() -> None:
    if not any(map(find_spec, ("tensorboard", "tensorboardX"))):
        with pytest.raises(ConfigError, match=r"^logger\.tensorboard: .*pip install -U 'tensorboard'"):
            experiment("logger=tensorboard", "data.limit=1")
        return
    made = experiment("logger=tensorboard", "data.limit=1", "run_dir=x")
    assert isinstance(made.loggers[0], LightningMirror)
    assert Path(made.loggers[0].logger.log_dir) == Path("x/tensorboard")
