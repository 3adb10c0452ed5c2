"""A study that several processes share."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from treg_exp.engine.journal import JOURNAL, STUDY, open_journal
from treg_exp.errors import ConfigError
from treg_exp.sweeps.search.presence import Presence
from treg_exp.sweeps.search.samplers import make_sampler
from treg_exp.sweeps.search.space import Space, read_space
from treg_exp.sweeps.search.study import ABOUT, SharedStudy, identity_of, values_of

SPACE = read_space(["a=interval(0,1)", "b=x,y,z"])
FINITE = read_space(["a=range(0,3)", "b=x,y"])
GOALS = {"own/psnr": "maximize"}


def worker(folder: Path, stack: ExitStack, space: Space = SPACE, kind: str = "random", seed: int = 0) -> SharedStudy:
    presence = Presence(folder / ".workers")
    stack.enter_context(presence.shown())
    study = SharedStudy(folder, space, make_sampler(kind, seed, 3, 4, space), presence)
    study.open({"psnr": "maximize"}, GOALS)
    return study


def score(study: SharedStudy, trial: optuna.trial.FrozenTrial) -> float:
    values = values_of(study.space, trial)
    return -((float(values["a"]) - 0.3) ** 2) + (values["b"] == "y")


def run(study: SharedStudy, count: int, n_trials: int) -> list[int]:
    claimed = study.claim(count, n_trials)
    for trial in claimed:
        study.tell(trial.number, TrialState.COMPLETE, [score(study, trial)])
    return [trial.number for trial in claimed]


def points(study: SharedStudy) -> list[dict]:
    return [values_of(study.space, trial) for trial in study.trials()]


@pytest.mark.parametrize("kind", ["random", "tpe", "nsga2"])
def test_what_is_tried_depends_on_the_seed_and_not_on_who_asks(tmp_path: Path, kind: str) -> None:
    with ExitStack() as stack:
        alone = worker(tmp_path / "alone", stack, kind=kind)
        while run(alone, 1, 9):
            pass
        one, two = (worker(tmp_path / "both", stack, kind=kind) for _ in range(2))
        for study in [one, two, two] * 3:
            run(study, 1, 9)
        assert run(one, 1, 9) == run(two, 2, 9) == []
        assert points(alone) == points(one)
        if kind != "nsga2":  # which keeps what is good
            assert len({point["a"] for point in points(one)}) == 9
        other = worker(tmp_path / "other", stack, kind=kind, seed=1)
        run(other, 9, 9)
        assert points(other)[0] != points(alone)[0]


def test_learning_finds_more_than_chance(tmp_path: Path) -> None:
    best = {}
    with ExitStack() as stack:
        for kind in ("random", "tpe"):
            study = worker(tmp_path / kind, stack, kind=kind)
            while run(study, 1, 40):
                pass
            best[kind] = sorted(trial.values[0] for trial in study.trials())[-10]
    assert best["tpe"] > best["random"]


def test_a_grid_has_every_point_once_however_many_ask(tmp_path: Path) -> None:
    with ExitStack() as stack:
        workers = [worker(tmp_path, stack, FINITE, "grid") for _ in range(2)]
        claimed = [workers[i % 2].claim(1 + i % 2, 6) for i in range(6)]
        assert [trial.number for trials in claimed for trial in trials] == list(range(6))
        assert points(workers[0]) == FINITE.grid()


def test_together_they_make_as_many_as_were_wanted(tmp_path: Path) -> None:
    with ExitStack() as stack:
        one, two = (worker(tmp_path, stack) for _ in range(2))
        first, second = one.claim(3, 5), two.claim(3, 5)
        assert [trial.number for trial in first] == [0, 1, 2]
        assert [trial.number for trial in second] == [3, 4]
        assert one.claim(3, 5) == two.claim(3, 5) == []  # what is running elsewhere is not taken away
        assert [trial.number for trial in one.claim(3, 6)] == [5]


def test_what_a_process_leaves_behind_goes_to_another(tmp_path: Path) -> None:
    with ExitStack() as stack:
        two = worker(tmp_path, stack)
        with ExitStack() as inner:
            one = worker(tmp_path, inner)
            lost = one.claim(2, 4)
            assert [trial.number for trial in two.claim(4, 4)] == [2, 3]
        again = two.claim(4, 4)
        assert [(trial.number, trial.params) for trial in again] == [(trial.number, trial.params) for trial in lost]
        assert two.claim(4, 4) == []


def test_a_trial_without_values_gets_those_that_it_would_have_had(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for name in ("whole", "torn"):
            study = worker(tmp_path / name, stack)
            if name == "torn":  # killed after Optuna has numbered the trial, or given it a first value
                trial = study.study.ask()
                study.space.dimensions["a"].suggest(trial)
            study.claim(1, 2)
        whole, torn = (worker(tmp_path / name, stack) for name in ("whole", "torn"))
        assert points(whole) == points(torn)


def test_failed_trials_are_tried_again_once_nobody_works(tmp_path: Path) -> None:
    with ExitStack() as stack:
        one, two = (worker(tmp_path, stack) for _ in range(2))
        (failed,) = one.claim(1, 2)
        one.tell(failed.number, TrialState.FAIL)
        (running,) = two.claim(1, 2)
        assert one.try_again() == 0
        two.tell(running.number, TrialState.COMPLETE, [1.0])
        assert (one.try_again(), two.try_again()) == (1, 0)
        (again,) = two.claim(3, 2)
        assert (again.number, again.params) == (2, failed.params)
        two.tell(again.number, TrialState.COMPLETE, [2.0])
        assert [trial.number for trial in one.trials()] == [1, 2]


def test_another_search_is_refused(tmp_path: Path) -> None:
    with ExitStack() as stack:
        worker(tmp_path, stack)
        with pytest.raises(
            ConfigError, match=r"search with space a: from 0 to 1 \(float\), this one has a: from 0 to 2"
        ):
            worker(tmp_path, stack, read_space(["a=interval(0,2)", "b=x,y,z"]))
        with pytest.raises(ConfigError, match=r"search with settings nothing, this one has c=1;"):
            worker(tmp_path, stack, read_space(["a=interval(0,1)", "b=x,y,z", "c=1"]))
    free = ["trainer.devices=2", "logger=csv", "run_dir=x", "data.batch_size=4", "dry_run=true"]
    assert identity_of([*free, "data.limit=3"]) == ["data.limit=3"]


def test_files_that_have_changed_since_count_where_the_configuration_does(tmp_path: Path) -> None:
    with ExitStack() as stack:
        other, goals = worker(tmp_path, stack), {"psnr": "maximize"}
        asked: list[int] = []

        def configuration() -> str:
            asked.append(1)
            return "mine"

        other.study.set_user_attr(ABOUT, {**other.study.user_attrs[ABOUT], "files": "a", "configuration": "mine"})
        other.open(goals, None, "a", configuration)
        assert asked == []  # the same files
        other.open(goals, None, "b", configuration)
        assert asked == [1]  # others, that make the same
        with pytest.raises(ConfigError, match="a file of the configuration has changed since"):
            other.open(goals, None, "b", lambda: "another")


def test_a_torn_line_costs_nothing_else(tmp_path: Path) -> None:
    with ExitStack() as stack:
        study = worker(tmp_path, stack)
        run(study, 2, 2)
        file = tmp_path / JOURNAL
        whole = file.read_bytes()
        file.write_bytes(whole + b'{"op_code": 4, "worker')
        again = worker(tmp_path, stack)
        assert file.read_bytes().startswith(whole)
        run(again, 1, 3)
        found = optuna.load_study(study_name=STUDY, storage=open_journal(file)).trials
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 3
