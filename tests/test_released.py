"""The released settings: every constant as the specification has it, and a run of each experiment at 512 pixels."""

from __future__ import annotations

import json

import pytest

from tests.conftest import DATA, ROOT
from tests.e2e.test_run import run
from tests.test_config import composed
from treg_exp.experiment import Experiment
from treg_exp.operators import CG, Descent
from treg_exp.solvers import DataSteps, TReg
from treg_exp.text import AdaptiveNegation, ConstantGuidance

NAMES = sorted(file.stem for file in (ROOT / "conf/experiment/released").glob("treg_*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_constants(name: str) -> None:
    made = Experiment.from_config(composed(f"experiment=released/{name}", "data.limit=1"))
    linear = name not in ("treg_phase_retrieval", "treg_gamma_correction")
    assert made.solver == TReg(
        steps=200,
        data_steps=DataSteps(every=3, stop_index=170),
        lam=1e-4,
        prox=CG(iterations=5, tolerance=1e-4) if linear else Descent(),
        encoder="sample",
        blend="alpha_bar_prev",
        renoise="stochastic",
        off_window="ddim",
        final_projection=False,
        alpha_shift=1,
    )
    (variant,) = made.variants.values()
    assert variant.policy.guidance == ConstantGuidance(5.0)
    lr = 5e-4 if name == "treg_gaussian_deblur" else 1e-3
    assert variant.policy.null_text == AdaptiveNegation("out of focus, depth of field", lr, 10, "adam")
    assert made.task.name == name


@pytest.mark.slow
@pytest.mark.parametrize("off_window", ["ddim", "dps"])
@pytest.mark.parametrize("name", NAMES)
def test_run_at_the_size_of_stable_diffusion(name: str, off_window: str, tmp_path) -> None:
    """With a small random model in its layout; negation is left out, for the model has no image encoder."""
    run(
        f"experiment=released/{name}", f"prior.path={DATA}/parity/tiny_model", "data.image_size=512", "data.limit=1",
        "solver.steps=4", f"solver.off_window={off_window}", "null_text=off", "metrics=residual", "logger=csv",
        f"run_dir={tmp_path}/run",
    )  # fmt: skip
    done = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (done["state"], done["finished"], done["failed"]) == ("finished", 1, 0)
