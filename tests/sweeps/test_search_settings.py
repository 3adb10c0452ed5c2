"""What a search is told, and which columns it may optimise."""

from __future__ import annotations

import pytest

from treg_exp.engine.objective import Objective
from treg_exp.errors import ConfigError
from treg_exp.metrics.column import Column
from treg_exp.sweeps.search.settings import SearchSettings, cautions, resolved


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"sampler": "tpee"}, "hydra.sweeper.sampler=tpee: must be one of tpe, random, grid, nsga2; did you mean tpe"),
        ({"n_trials": None}, "hydra.sweeper.n_trials has no value, and sampler=tpe needs one"),
        ({"n_trials": 0}, "hydra.sweeper.n_trials=0: must be at least 1"),
        ({"n_jobs": 0}, "hydra.sweeper.n_jobs=0: must be at least 1"),
        ({"objectives": {"psnr": "max"}}, "hydra.sweeper.objectives.psnr=max: must be maximize or minimize"),
        ({"pruner": "mean"}, "hydra.sweeper.pruner=mean: must be one of none, median, hyperband"),
        ({"pruner_every": 0}, "hydra.sweeper.pruner_every=0: must be at least 1"),
        (
            {"pruner": "median", "objectives": {"psnr": "maximize", "nfe": "minimize"}},
            "hydra.sweeper.pruner=median: must be none with several objectives",
        ),
    ],
)
def test_wrong_settings(values: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        SearchSettings(**{"n_trials": 3, **values}).check()


def test_objectives_by_name() -> None:
    columns = ["residual", "nfe"]
    assert resolved({"nfe": "minimize"}, ["own"], columns) == {"own/nfe": "minimize"}
    two = resolved({"own/nfe": "minimize", "none/residual": "maximize"}, ["own", "none"], columns)
    assert two == {"own/nfe": "minimize", "none/residual": "maximize"}
    for wrong, told in (
        ({"nfe": "minimize"}, "of which variant; must be one of own/nfe, none/nfe"),
        (
            {"nfee": "minimize"},
            "no such column; did you mean nfe.; columns are residual, nfe, of the variants own, none",
        ),
        ({"mine/nfe": "minimize"}, "no such column; columns are residual, nfe, of the variants own, none"),
        ({}, "nothing to optimise; say it as hydra.sweeper.objectives='{residual: maximize}'"),
    ):
        with pytest.raises(ConfigError, match=told):
            resolved(wrong, ["own", "none"], columns)


def test_a_mean_is_that_of_finite_values() -> None:
    rows = [
        {"variant": "own", "psnr": 1.0}, {"variant": "own", "psnr": None}, {"variant": "own", "psnr": 4},
        {"variant": "none", "psnr": 100.0}, {"variant": "own"}, {"variant": "own", "psnr": float("nan")},
    ]  # fmt: skip
    assert Objective.named("own/psnr").mean(rows) == 2.5
    assert Objective.named("own/ssim").mean(rows) is None


def test_objectives_that_mislead_are_named() -> None:
    columns = {
        "psnr": Column("PSNR", higher_is_better=True), "lpips": Column("LPIPS", higher_is_better=False),
        "chosen": Column("score", higher_is_better=True, optimised=True), "steps": Column("steps"),
    }  # fmt: skip
    assert cautions({"own/psnr": "maximize", "own/lpips": "minimize", "own/steps": "maximize"}, columns) == []
    told = cautions({"own/psnr": "minimize", "own/chosen": "maximize"}, columns)
    assert told[0] == "hydra.sweeper.objectives.own/psnr=minimize: maximize is better in this column"
    assert "own/chosen: the solver raises this number directly" in told[1]
    assert len(told) == 2
