"""A run that is a trial reports its running mean, and ends where others do better."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest

from treg_exp.engine.journal import STUDY, PrunerSettings, open_journal
from treg_exp.engine.trial import Trial
from treg_exp.engine.trial_report import TrialReport, trial_callbacks
from treg_exp.errors import FieldError, PrunedError
from treg_exp.files import append_json_line
from treg_exp.run_layout import RunLayout, of_process

TRAINER = SimpleNamespace(num_predict_batches=[4])


def study(folder: Path):
    return optuna.create_study(
        storage=open_journal(folder / "study.journal"), study_name=STUDY, direction="maximize", load_if_exists=True
    )


def row(value: float | None, sample: int = 0, variant: str = "own") -> dict:
    return {"sample_id": str(sample), "variant": variant, "draw": 0, "psnr": value}


def batch(*values: float | None, variant: str = "own") -> list:
    return [SimpleNamespace(signal=value, row=row(value, variant=variant)) for value in values]


def report(folder: Path, number: int, **pruner) -> TrialReport:
    run = folder / f"run{number}"
    settings = PrunerSettings(**{"kind": "median", "after_trials": 1, "after_samples": 1, **pruner})
    Trial(number, "own/psnr", settings).write(run)
    (made,) = trial_callbacks(run, processes=1)
    assert isinstance(made, TrialReport)
    made.on_predict_start(TRAINER, None)
    return made


def complete(folder: Path, *values: float) -> None:
    """A trial with these running means."""
    trial = study(folder).ask()
    for step, value in enumerate(values, 1):
        trial.report(value, step)
    study(folder).tell(trial, values[-1])


def test_a_running_mean_is_compared_after_as_many_samples(tmp_path: Path) -> None:
    complete(tmp_path, 10.0, 20.0, 30.0, 30.0)
    trial = study(tmp_path).ask()
    callback = report(tmp_path, trial.number)
    callback.on_predict_batch_end(TRAINER, None, batch(12.0), None, 0)
    callback.on_predict_batch_end(TRAINER, None, batch(99.0, variant="none"), None, 1)  # another variant's
    with pytest.raises(PrunedError, match=r"after 3 samples own/psnr is 15, others do better"):
        callback.on_predict_batch_end(TRAINER, None, batch(16.0, 17.0), None, 2)
    assert study(tmp_path).trials[trial.number].intermediate_values == {1: 12.0, 3: 15.0}


def test_nothing_is_saved_by_ending_after_the_last_batch(tmp_path: Path) -> None:
    complete(tmp_path, 10.0)
    callback = report(tmp_path, study(tmp_path).ask().number)
    callback.on_predict_batch_end(TRAINER, None, batch(1.0), None, 3)


def test_a_run_that_goes_on_counts_what_was_there(tmp_path: Path) -> None:
    trial = study(tmp_path).ask()
    append_json_line(of_process(RunLayout(tmp_path / "run0").rows, 0), row(3.0, sample=9))
    callback = report(tmp_path, trial.number, report_every=2)
    callback.on_predict_batch_end(TRAINER, None, batch(6.0), None, 0)  # not yet
    callback.on_predict_batch_end(TRAINER, None, batch(9.0), None, 1)
    assert study(tmp_path).trials[0].intermediate_values == {3: 6.0}


def test_a_study_that_cannot_be_written_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = report(tmp_path, 5)  # there is no such trial
    study(tmp_path)
    for number in range(2):
        callback.on_predict_batch_end(TRAINER, None, batch(1.0), None, number)
    assert capsys.readouterr().err.count("note: trial 5 cannot be reported: KeyError") == 1


def test_a_trial_that_is_over_is_left_alone(tmp_path: Path) -> None:
    complete(tmp_path, 10.0)
    callback = report(tmp_path, 0)
    callback.on_predict_batch_end(TRAINER, None, batch(1.0), None, 0)
    assert study(tmp_path).trials[0].intermediate_values == {1: 10.0}


def test_only_trials_with_a_pruner_in_one_process_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trial_callbacks(tmp_path, processes=1) == []
    Trial(0, "own/psnr").write(tmp_path)
    assert trial_callbacks(tmp_path, processes=1) == []
    Trial(0, "own/psnr", PrunerSettings("median")).write(tmp_path)
    assert trial_callbacks(tmp_path, processes=2) == []
    assert "a trial in several processes is not pruned" in capsys.readouterr().err
    RunLayout(tmp_path).trial.write_text('{"number": 0, "pruner": {"kind": "best"}}')
    assert trial_callbacks(tmp_path, processes=1) == []
    assert "is damaged, the run is not pruned: kind=best" in capsys.readouterr().err
    Trial(0, "own/psnr", PrunerSettings("median")).write(tmp_path)
    assert Trial.read(tmp_path) == Trial(0, "own/psnr", PrunerSettings("median"))


def test_hyperband_ends_most_of_what_is_worse(tmp_path: Path) -> None:
    complete(tmp_path, *[50.0] * 9)
    ended = 0
    for number in range(1, 9):
        trial, trainer = study(tmp_path).ask(), SimpleNamespace(num_predict_batches=[9])
        callback = report(tmp_path, trial.number, kind="hyperband")
        try:
            for i in range(9):
                callback.on_predict_batch_end(trainer, None, batch(50.0 - number), None, i)
            study(tmp_path).tell(trial, 50.0 - number)
        except PrunedError:
            study(tmp_path).tell(trial, state=optuna.trial.TrialState.PRUNED)
            ended += 1
    assert 2 <= ended <= 8


@pytest.mark.parametrize("wrong", [{"kind": "best"}, {"after_samples": 0}, {"after_trials": -1}, {"report_every": 0}])
def test_wrong_settings(wrong: dict) -> None:
    with pytest.raises(FieldError, match="must be"):
        PrunerSettings(**wrong)
