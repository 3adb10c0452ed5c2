"""TReg against recorded outputs of the original implementation.

The vectors beside this repository's tests keep every fourth pixel of the image; a full set is replayed with
`pytest tests/parity --vectors DIR`, which prints the largest difference of each case.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from tests.test_config import composed
from tests.tiny import tiny_prior
from treg_exp.noise import ReplayNoise
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.signals.ranges import to_unit
from treg_exp.solvers.treg import TReg
from treg_exp.text.guidance import ConstantGuidance
from treg_exp.text.null_text import AdaptiveNegation, FixedNullText
from treg_exp.text.policy import TextPolicy
from treg_exp.tasks.problems import Measurement, Problem

TOLERANCE = 1e-4


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder = Path(metafunc.config.getoption("--vectors"))
    cases = sorted(p.stem for p in folder.glob("*.json") if json.loads(p.read_text()).get("solver") == "treg")
    if not cases:
        raise pytest.UsageError(f'--vectors {folder}: no TReg case (*.json with "solver": "treg") in this folder')
    metafunc.parametrize("case", cases)


def compat(settings: dict) -> TReg:
    """conf/solver/treg_compat.yaml, with the steps of the recording and its DPS between data steps."""
    released = instantiate(composed("solver=treg_compat").solver, _convert_="all")
    assert (released.lam, released.prox.iterations) == (settings["lam"], settings["cg_iterations"])
    off_window = "dps" if settings["off_gamma_dps"] else "ddim"
    return replace(released, steps=settings["steps"], off_window=off_window)


def replay(arrays: dict, solver: TReg) -> ReplayNoise:
    """The recorded order: z_T, then on every data step the encoder's noise and the renoising noise."""
    records = {("start", 0, 0): arrays["z_T"]}
    data_steps = [k for k in range(solver.steps) if solver.data_steps.contains(k, solver.steps)]
    for position, k in enumerate(data_steps):
        records["encode", k, 0] = arrays["noise"][2 * position][None]
        records["renoise", k, 0] = arrays["noise"][2 * position + 1][None]
    assert len(arrays["noise"]) == 2 * len(data_steps)
    return ReplayNoise(records)


def test_matches_the_original(case: str, vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = json.loads((vectors / f"{case}.json").read_text())
    arrays = dict(np.load(vectors / f"{case}.npz"))
    solver, prior = compat(settings), tiny_prior(vectors)
    null_text = (
        AdaptiveNegation(settings["null_prompt"], lr=settings["null_lr"], iterations=settings["null_iterations"])
        if settings["adaptive_negation"]
        else FixedNullText(settings["null_prompt"])
    )
    policy = TextPolicy(ConstantGuidance(settings["guidance"]), null_text)
    y = torch.from_numpy(arrays["measurement"])
    factor = 16
    operator = BicubicDownsampling(factor=factor, signal_shape=(3, y.shape[-2] * factor, y.shape[-1] * factor))
    problem = Problem(
        Measurement(y, operator, sigma=0.01, lam=settings["lam"]), policy.start(prior, [settings["prompt"]])
    )

    image = to_unit(solver.solve(problem, prior, policy, replay(arrays, solver)).image).numpy()

    expected = arrays["image"] if "image" in arrays else arrays["image_every_4th_pixel"]
    stride = 1 if "image" in arrays else 4
    difference = float(np.abs(image[..., ::stride, ::stride] - expected).max())
    with capsys.disabled():
        print(f"\n{case}: max |difference| = {difference:.2e}")
    assert difference <= TOLERANCE
