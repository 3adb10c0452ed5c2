"""What W&B has of a whole run, read from its offline file; and that none of its failures ends a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb

from tests.e2e import wandb_file
from tests.e2e.test_audio import command, hidden, inputs  # noqa: F401 - a fixture
from tests.engine.test_csv_mirror import SHORT
from tests.engine.test_wandb_mirror import offline
from tests.test_config import TINY, composed
from treg_exp.app import run
from treg_exp.engine import wandb_mirror
from treg_exp.engine.wandb_mirror import WandbMirror
from treg_exp.errors import FieldError
from treg_exp.reports.trajectory import read_trajectories
from treg_exp.run_layout import read_rows


def go(folder: Path, *overrides: str) -> None:
    run(composed(*TINY, *SHORT, "logger=wandb", f"run_dir={folder}", *overrides))


def records(folder: Path) -> list[Any]:
    offline(folder)  # waits for its end
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    return list(wandb_file.records(file))


def history(folder: Path) -> list[dict[str, Any]]:
    found = [record.history for record in records(folder) if record.WhichOneof("record_type") == "history"]
    return [{wandb_file._name(item): json.loads(item.value_json) for item in line.item} for line in found]


def table(folder: Path) -> dict[str, Any]:
    (found,) = offline(folder)
    (file,) = (file for name, file in found["files"].items() if name.endswith(".table.json"))
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "r"
    go(folder, "logger.wandb.thumbnails=16")
    return folder


def test_curves_have_an_axis_of_their_own(run_folder: Path) -> None:
    metrics = [record.metric for record in records(run_folder) if record.WhichOneof("record_type") == "metric"]
    axes = {metric.glob_name or metric.name: metric.step_metric for metric in metrics}
    assert axes == {"trajectory/step": "", "trajectory/*": "trajectory/step", "own/*": ""}
    lines = history(run_folder)
    found = list(read_trajectories(run_folder, read_rows(run_folder)))
    assert len(found) == 2
    for (sample, variant, _), trajectory in found:
        name = f"trajectory/residual/{variant}/{sample}"
        curve = [(line["trajectory/step"], line[name]) for line in lines if name in line]
        assert curve == list(zip(*trajectory.curve("residual"), strict=True))
    assert [line["restorations"] for line in lines if "restorations" in line] == [1, 2, 3]
    steps = [line["_step"] for line in lines]
    assert steps == sorted(set(steps))


def test_the_table_shows_target_measurement_and_restoration(run_folder: Path) -> None:
    found = table(run_folder)
    assert found["columns"][-3:] == ["target", "measurement", "reconstruction"]
    assert [line[0] for line in found["data"]] == [row["sample_id"] for row in read_rows(run_folder)]
    for line in found["data"]:
        assert {(picture["width"], picture["height"]) for picture in line[-3:]} == {(16, 16)}
    (media,) = (line for line in history(run_folder) if "grid.path" in line)
    grid = next(run_folder.glob("wandb/offline-run-*")) / "files" / media["grid.path"]
    assert grid.read_bytes() == (run_folder / "grid.png").read_bytes()


def test_the_code_is_part_of_the_configuration(run_folder: Path) -> None:
    (found,) = offline(run_folder)
    code = found["config"]["code"]
    assert set(code) == {"revision", "dirty", "python", "platform", "gpus", "packages"}
    assert code["packages"]["wandb"] == wandb.__version__
    assert code["revision"] is None or len(code["revision"]) == 40
    assert isinstance(code["dirty"], bool)
    assert found["config"]["trajectory"] == {"samples": 2, "points": 25}
    assert found["job_type"] == "predict"


def test_the_table_has_a_bound(tmp_path: Path) -> None:
    go(tmp_path / "r", "logger.wandb.table_rows=2", "logger.wandb.thumbnails=0")
    rows = read_rows(tmp_path / "r")
    assert [line[0] for line in table(tmp_path / "r")["data"]] == [rows[0]["sample_id"], rows[1]["sample_id"]]
    go(tmp_path / "s", "logger.wandb.table_rows=0", "data.limit=1")
    assert not list((tmp_path / "s").rglob("*.table.json"))
    with pytest.raises(FieldError, match="table_rows=-1: must be in"):
        WandbMirror(table_rows=-1)


def test_audio_can_be_heard(inputs: Path, tmp_path: Path) -> None:  # noqa: F811
    run(composed(*command(inputs, tmp_path / "r", *hidden(inputs)), "logger=wandb"))
    found = table(tmp_path / "r")
    assert found["columns"][-1] == "sound"
    assert {line[-1]["_type"] for line in found["data"]} == {"audio-file"}
    (run_of_wandb,) = offline(tmp_path / "r")
    assert len([name for name in run_of_wandb["files"] if name.endswith(".wav")]) == len(found["data"])


class ServiceGoneError(Exception):
    """As W&B raises when its service has died."""


def only(condition: Callable[[Any], bool]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A method that fails where its first argument is such a one."""

    def broken(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *arguments: Any, **more: Any) -> Any:
            if condition(arguments[0] if arguments else None):
                raise ServiceGoneError("the service is gone")
            return method(self, *arguments, **more)

        return call

    return broken


FAULTS: dict[str, tuple[Any, str, Callable[[Any], bool]]] = {
    "init": (WandbMirror, "_init", lambda mode: True),
    "define_metric": (wandb.Run, "define_metric", lambda name: True),
    "define_metric of a variant": (wandb.Run, "define_metric", lambda name: name == "own/*"),
    "log": (wandb.Run, "log", lambda values: True),
    "log of a curve": (wandb.Run, "log", lambda values: "trajectory/step" in values),
    "log of media": (wandb.Run, "log", lambda values: "grid" in values),
    "summary": (wandb.sdk.wandb_summary.Summary, "update", lambda values: True),
    "finish": (wandb.Run, "finish", lambda values: True),
    "image": (wandb.Image, "__init__", lambda values: True),
    "table": (wandb.Table, "add_data", lambda values: True),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_failure_of_it_ends_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    owner, name, condition = FAULTS[fault]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, only(condition)(getattr(owner, name)))
        go(tmp_path / "r", "data.limit=1", "solver.steps=1")
    assert json.loads((tmp_path / "r/status.json").read_text())["state"] == "finished"
    assert len(read_rows(tmp_path / "r")) == 1
    said = [record.getMessage() for record in caplog.records if record.name.startswith("treg_exp")]
    assert len([line for line in said if "the service is gone" in line]) in (1, 2)  # and once more as it is closed
    wandb.teardown()


def test_a_failure_of_the_last_step_is_none_of_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error of the run is the one that is told."""
    monkeypatch.setattr(wandb_mirror.WandbMirror, "_log", lambda self, values: 1 / 0)
    monkeypatch.setattr("treg_exp.app.conclude", lambda experiment: [][0])
    with pytest.raises(IndexError):
        go(tmp_path / "r", "data.limit=1", "solver.steps=1")
    assert "W&B failed and is off for the rest of this run" in caplog.text
