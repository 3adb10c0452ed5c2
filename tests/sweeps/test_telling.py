"""What a study learns of a trial is what its run folder says, whoever has run it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.sweeps.test_study import worker
from treg_exp.engine.status import write_status
from treg_exp.files import append_json_line
from treg_exp.run_layout import RunLayout, of_process
from treg_exp.sweeps.manifest import Job, Sweep
from treg_exp.sweeps.search.study import ERROR
from treg_exp.sweeps.search.sweeper import _tell


def ran(sweep: Sweep, job: Job, state: str, values: list[float | None]) -> None:
    """Write what a run leaves that came to an end like this."""
    folder = sweep.folder(job)
    for i, psnr in enumerate(values):
        row = {"sample_id": str(i), "variant": "own", "draw": 0, "psnr": psnr}
        append_json_line(of_process(RunLayout(folder).rows, 0), row)
    about = {"error": "CUDA error"} if state == "failed" else {}
    write_status(folder, {"state": state, "expected": 2, "finished": len(values), "host": "n17", **about})
    if state == "running":  # on another machine, long ago
        os.utime(RunLayout(folder).status, (0, 0))


def learnt(sweep: Sweep, jobs: list[Job]) -> FrozenTrial:
    """What the study knows after it was told."""
    with ExitStack() as stack:
        study = worker(sweep.path, stack)
        (trial,) = study.claim(1, 1)
        study._storage.set_trial_intermediate_value(0, 1, 7.0)
        _tell(trial.number, jobs, study, sweep)
        (told,) = study.trials()
    return told


@pytest.mark.parametrize(
    ("state", "values", "expected", "value", "error"),
    [
        ("finished", [1.0, 4.0], TrialState.COMPLETE, 2.5, None),
        ("finished", [None], TrialState.FAIL, None, "no value of own/psnr"),
        ("failed", [1.0], TrialState.FAIL, None, "CUDA error"),
        ("pruned", [1.0], TrialState.PRUNED, 7.0, None),
        ("interrupted", [1.0], TrialState.RUNNING, None, None),
        ("running", [1.0], TrialState.RUNNING, None, None),  # its process is gone
    ],
)
def test_states(
    tmp_path: Path, state: str, values: list[float | None], expected: TrialState, value: float | None, error: str | None
) -> None:
    sweep, job = Sweep(tmp_path), Job("abc", ("a=1",))
    ran(sweep, job, state, values)
    told = learnt(sweep, [job])
    assert (told.state, told.user_attrs.get(ERROR)) == (expected, error)
    assert told.value == value


@pytest.mark.parametrize(
    ("states", "expected", "value", "error"),
    [
        (("finished", "finished"), TrialState.COMPLETE, 4.75, None),  # the mean of 2.5 and 7, whatever images they have
        (("finished", "failed"), TrialState.FAIL, None, "CUDA error"),
        (("failed", "interrupted"), TrialState.FAIL, None, "CUDA error"),
        (("finished", "interrupted"), TrialState.RUNNING, None, None),
    ],
)
def test_several_runs_of_a_trial(
    tmp_path: Path, states: tuple[str, str], expected: TrialState, value: float | None, error: str | None
) -> None:
    sweep, jobs = Sweep(tmp_path), [Job("abc", ("a=1", "task=x")), Job("abd", ("a=1", "task=y"))]
    for job, state, values in zip(jobs, states, ([1.0, 4.0], [7.0]), strict=True):
        ran(sweep, job, state, values)
    told = learnt(sweep, jobs)
    assert (told.state, told.user_attrs.get(ERROR)) == (expected, error)
    assert (None if told.state != TrialState.COMPLETE else told.value) == value
