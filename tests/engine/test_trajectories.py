"""What is recorded of the steps of a solver, and that recording leaves no trace in anything else."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from tests.e2e.test_audio import command, hidden, inputs  # noqa: F401 - a fixture
from tests.engine.test_app import go
from tests.test_config import composed, experiment
from treg_exp.app import run
from treg_exp.engine.costs import NOT_REPEATED
from treg_exp.engine.trajectories import TrajectoryRecorder, chosen_steps
from treg_exp.errors import ConfigError
from treg_exp.reports.trajectory import Trajectory, read_trajectories, read_trajectory
from treg_exp.run_layout import read_rows
from treg_exp.solvers.treg import TReg
from treg_exp.text.guidance.ramp import RampGuidance
from treg_exp.text.policy import TextPolicy

RUN = ["experiment=single", "metrics=residual", "data.limit=3", "solver.steps=5", "guidance.scale=3"]
JUDGED = ["+metrics.judge._target_=treg_exp.metrics.judge.JudgeAlignment"]
NONE = "trajectory.samples=0"


def recorded(folder: Path) -> dict[str, Trajectory]:
    return {key[0]: trajectory for key, trajectory in read_trajectories(folder, read_rows(folder))}


def files(folder: Path, pattern: str) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob(pattern)}


def without_costs(rows: dict) -> dict:
    return {key: {name: value for name, value in row.items() if name not in NOT_REPEATED} for key, row in rows.items()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("runs") / "r"
    return folder, go(folder, *RUN, *JUDGED)


def test_what_is_recorded(alone: tuple[Path, dict]) -> None:
    folder, rows = alone
    found = recorded(folder)
    assert list(found) == [key[0] for key in list(rows)[:2]]  # of the first two samples
    for sample, trajectory in found.items():
        row = next(row for key, row in rows.items() if key[0] == sample)
        assert (trajectory.steps, trajectory.alignment_by) == (5, "judge")
        assert trajectory.curve("step")[1] == [0, 1, 2, 3, 4]
        assert trajectory.curve("guidance")[1] == [3.0] * 5
        assert trajectory.curve("change")[0] == [1, 2, 3, 4]
        assert all(0 < value < 3 for value in trajectory.curve("change")[1])
        sigmas = trajectory.curve("sigma")[1]
        assert sigmas == sorted(sigmas, reverse=True)
        # The last estimate is what the last projection begins with.
        assert trajectory.curve("residual")[1][-1] == pytest.approx(row["residual_before"], rel=1e-4)
        assert all(-1 <= value <= 1 for value in trajectory.curve("alignment")[1])


def test_it_changes_nothing(alone: tuple[Path, dict], tmp_path: Path) -> None:
    """Bytes of all pictures, and all columns of the rows, evaluations and decodings among them."""
    folder, rows = alone
    other = go(tmp_path / "r", *RUN, *JUDGED, NONE)
    assert not recorded(tmp_path / "r")
    assert files(tmp_path / "r", "*.png") == files(folder, "*.png")
    assert without_costs(other) == without_costs(rows)
    assert json.loads((folder / "identity.json").read_text()) == json.loads((tmp_path / "r/identity.json").read_text())


def test_batches_and_processes_change_no_point(alone: tuple[Path, dict], tmp_path: Path) -> None:
    go(tmp_path / "r", *RUN, *JUDGED, "data.batch_size=1", "trainer.accelerator=cpu", "trainer.devices=2")
    for sample, trajectory in recorded(alone[0]).items():
        other = recorded(tmp_path / "r")[sample]
        for column in ("residual", "alignment", "change", "guidance"):
            assert other.curve(column)[1] == pytest.approx(trajectory.curve(column)[1], rel=2e-3, abs=1e-4), column


def test_too_little_memory(alone: tuple[Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of three does not fit at its third step; its parts are recorded from their start."""
    project = TReg.project

    def scarce(self, problem, x, move):
        if len(x) == 3 and move.index == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return project(self, problem, x, move)

    monkeypatch.setattr(TReg, "project", scarce)
    go(tmp_path / "r", *RUN, *JUDGED)
    found = recorded(tmp_path / "r")
    assert [t.curve("step")[1] for t in found.values()] == [[0, 1, 2, 3, 4]] * 2
    for sample, trajectory in recorded(alone[0]).items():
        assert found[sample].curve("residual")[1] == pytest.approx(trajectory.curve("residual")[1], rel=2e-3)


def test_what_is_done_again_is_recorded_again(alone: tuple[Path, dict], tmp_path: Path) -> None:
    folder, _ = tmp_path / "r", go(tmp_path / "r", *RUN, *JUDGED)
    before = files(folder, "trajectory.json")
    for file in folder.rglob("trajectory.json"):
        file.write_bytes(b"{")
        (file.parent / "reconstruction.png").write_bytes(b"")
    assert recorded(folder) == {}  # damaged: nothing is read, and nothing breaks
    go(folder, *RUN, *JUDGED)
    assert list(files(folder, "trajectory.json")) == list(before)
    assert recorded(folder).keys() == recorded(alone[0]).keys()


def test_a_failure_of_it_is_none_of_the_run(
    alone: tuple[Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("treg_exp.engine.trajectories.prompt_scores", fails)
    rows = go(tmp_path / "r", *RUN, *JUDGED, "data.batch_size=1")
    assert without_costs(rows).keys() == alone[1].keys()
    assert files(tmp_path / "r", "trajectory.json") == {}
    assert capsys.readouterr().out.count("no more are recorded, results stay as they are") == 1


def test_its_time_is_not_that_of_the_solver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = TrajectoryRecorder._point

    def slow(self, *args):
        time.sleep(0.5)
        return point(self, *args)

    monkeypatch.setattr(TrajectoryRecorder, "_point", slow)
    start = time.perf_counter()
    rows = go(tmp_path / "r", *RUN, "data.limit=1")
    assert time.perf_counter() - start > 2.5
    assert next(iter(rows.values()))["seconds"] < 2


def test_points_are_a_selection_and_the_change_is_still_that_of_one_step(
    alone: tuple[Path, dict], tmp_path: Path
) -> None:
    assert chosen_steps(50, 25) == {round(k * 49 / 24) for k in range(25)}
    assert {0, 49} < chosen_steps(50, 25)
    assert chosen_steps(4, 25) == {0, 1, 2, 3}
    assert chosen_steps(9, 1) == {8}
    go(tmp_path / "r", *RUN, *JUDGED, "trajectory.samples=1", "trajectory.points=2")
    ((sample, found),) = recorded(tmp_path / "r").items()
    assert found.curve("step")[1] == [0, 4]
    assert found.curve("change") == ([4], [recorded(alone[0])[sample].curve("change")[1][-1]])


def test_the_scale_is_that_which_is_in_use(tmp_path: Path) -> None:
    """A rule that follows the noise level, half of it, and steps that ask the null text alone."""
    ramp = ["guidance=ramp", "guidance.early=1", "guidance.late=4", "text_weight=0.5"]
    small = ["experiment=single", "metrics=residual", "data.limit=1", "solver.steps=4"]
    go(tmp_path / "r", *small, *ramp, "solver.data_steps.every=2", "solver.off_window=dps")
    (found,) = recorded(tmp_path / "r").values()
    steps, scales = found.curve("guidance")
    assert steps == [0, 2]
    policy = TextPolicy(guidance=RampGuidance(early=1, late=4), weight=0.5)
    info = experiment("solver.steps=4").prior.info
    moves = info.moves(4, (3, 64, 64))
    assert scales == pytest.approx([policy.scale_at(moves[k].now) for k in steps])
    assert 0.5 <= scales[0] < scales[1] <= 2


@pytest.mark.parametrize("solver", [["best_of", "solver.candidates=2", "solver.of.steps=2"], ["pseudo_inverse"]])
def test_solvers_that_tell_no_single_story_are_not_recorded(tmp_path: Path, solver: list[str]) -> None:
    small = ["experiment=single", "metrics=residual", "data.limit=1", "logger=csv"]
    run(composed(*small, f"solver={solver[0]}", *solver[1:], f"run_dir={tmp_path}/r"))
    assert len(read_rows(tmp_path / "r")) == 1
    assert files(tmp_path / "r", "trajectory.json") == {}


def test_an_edit_has_no_residual(tmp_path: Path) -> None:
    go(tmp_path / "r", "experiment=edit", "data.limit=1", "solver.steps=3", *JUDGED, "draws=2")
    found = read_trajectories(tmp_path / "r", read_rows(tmp_path / "r"))
    for (sample, variant, draw), trajectory in found:
        assert (draw, trajectory.curve("residual")) == (0, ([], []))
        assert len(trajectory.curve("alignment")[0]) == 3
        assert read_trajectory(tmp_path / "r", (sample, variant, 1)) is None
    assert len(files(tmp_path / "r", "draw_000/trajectory.json")) == 2


def test_audio_has_a_residual_and_no_alignment(inputs: Path, tmp_path: Path) -> None:  # noqa: F811
    run(composed(*command(inputs, tmp_path / "r", *hidden(inputs))))
    found = recorded(tmp_path / "r")
    assert len(found) == 2
    for trajectory in found.values():
        assert trajectory.alignment_by is None
        assert len(trajectory.curve("residual")[0]) == 4
        assert trajectory.curve("alignment") == trajectory.curve("guidance") == ([], [])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trajectory.samples=-1", r"^trajectory\.samples=-1: must be >= 0; 0: none"),
        ("trajectory.points=0", r"^trajectory\.points=0: must be >= 1; trajectory\.samples=0 records nothing"),
        ("trajectory.points=many", r"^trajectory\.points=many: must be an integer"),
        ("+trajectory.sample=1", r"^trajectory\.sample: nothing reads it; did you mean samples\?"),
        ("trajectory=off", r"trajectory=.*: must be a mapping"),
    ],
)
def test_wrong_settings(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        experiment("data.limit=1", override)
