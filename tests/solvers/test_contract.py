"""What every solver in conf/solver has to fulfil; a new YAML enters by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hydra.utils import instantiate

from tests.conftest import ROOT
from tests.test_config import composed
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.solvers.base import Solver
from treg_exp.tasks.problems import Measurement, Problem
from treg_exp.text.guidance import ConstantGuidance
from treg_exp.text.null_text import AdaptiveNegation
from treg_exp.text.policy import TextPolicy

NAMES = sorted(p.stem for p in (ROOT / "conf" / "solver").glob("*.yaml"))
IDS = ["apple", "bear", "crab"]
PROMPTS = ["a red apple", "a bear", "a crab"]
STEPS = 7
POLICY = TextPolicy(ConstantGuidance(3.0), AdaptiveNegation())


@pytest.fixture(params=NAMES)
def solver(request) -> Solver:
    made = instantiate(composed(f"solver={request.param}").solver, _convert_="all")
    return replace(made, steps=STEPS) if made.steps else made


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def problem(prior, x: torch.Tensor, prompts: list[str]) -> Problem:
    operator = BicubicDownsampling(factor=8, signal_shape=(3, 64, 64))
    return Problem(Measurement(operator.A(x), operator, 0.01, 1e-4), POLICY.start(prior, prompts))


def solve(solver: Solver, prior, x, prompts=PROMPTS, ids=IDS, seed=0, **kwargs) -> torch.Tensor:
    noise = KeyedNoise([StreamKey(seed, i) for i in ids])
    return solver.solve(problem(prior, x, prompts), prior, POLICY, noise, **kwargs).image


def test_batches_do_not_matter(solver, tiny_prior, x) -> None:
    """Results of a batch of 3 equal those of single runs in another order, within 1e-4 (signs are taken)."""
    together = solve(solver, tiny_prior, x)
    assert together.shape == x.shape
    assert together.dtype == torch.float32
    assert together.isfinite().all()
    for i in (2, 0):
        alone = solve(solver, tiny_prior, x[i : i + 1], PROMPTS[i : i + 1], IDS[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-4)


def test_inputs_stay_as_they_are(solver, tiny_prior, x) -> None:
    given = problem(tiny_prior, x, PROMPTS)
    copies = [t.clone() for t in (given.y, given.text.prompt, given.text.null)]
    solver.solve(given, tiny_prior, POLICY, KeyedNoise([StreamKey(0, i) for i in IDS]))
    for before, after in zip(copies, (given.y, given.text.prompt, given.text.null), strict=True):
        assert torch.equal(before, after)


def test_steps_are_reported(solver, tiny_prior, x) -> None:
    seen = []
    solve(solver, tiny_prior, x, on_step=seen.append)
    assert [info.step.index for info in seen] == list(range(solver.steps))
    assert all(info.total == solver.steps for info in seen)


def test_seed_and_text_matter_where_they_should(solver, tiny_prior, x) -> None:
    first = solve(solver, tiny_prior, x)
    assert torch.equal(first, solve(solver, tiny_prior, x))
    moved_by_text = (first - solve(solver, tiny_prior, x, prompts=["a dog"] * 3)).abs().max()
    moved_by_seed = (first - solve(solver, tiny_prior, x, seed=1)).abs().max()
    if solver.uses_text:
        assert moved_by_text > 1e-3
        assert moved_by_seed > 1e-2
    else:
        assert moved_by_text == 0
        assert moved_by_seed == 0
