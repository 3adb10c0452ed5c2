"""Every solver on every task of ``conf/task``: it restores, or says before any weights why it cannot."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from hydra.utils import instantiate

from tests.conftest import ROOT
from tests.e2e.test_all_tasks import TASKS, fits
from tests.operators.tasks import NONLINEAR, load_task
from tests.parity.projdiff import GaussianDenoiser
from tests.solvers.test_contract import refusal, shortened
from tests.test_config import composed
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.linear.masking import Masking
from treg_exp.operators.linear.separable import SeparableOperator
from treg_exp.operators.linear.tight import TightOperator
from treg_exp.priors.codecs.identity import IdentityCodec
from treg_exp.priors.prior import Prior
from treg_exp.solvers.best_of import BestOf
from treg_exp.solvers.flow_space import FlowSolver
from treg_exp.solvers.projdiff import ProjDiff
from treg_exp.solvers.signal_space import SignalSolver
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.policy import TextPolicy

SOLVERS = sorted(p.stem for p in (ROOT / "conf" / "solver").glob("*.yaml") if not p.stem.endswith("_compat"))


@cache
def posed(name: str) -> InverseProblem:
    """The task for one picture, of the smallest side that it takes."""
    side = 64 if fits(name, 64) else 128
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return load_task(name).measure(x, ["a"])


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_restores_or_refuses(name: str, tiny_prior: Prior) -> None:
    solver = shortened(instantiate(composed(f"solver={name}").solver, _convert_="all"))
    if InverseProblem not in solver.problems or isinstance(solver, BestOf):
        return
    policy, refused = TextPolicy(), set()
    text = policy.start(tiny_prior, [{"prompt": "a cat"}])
    for task in TASKS:
        problem = posed(task)
        if refusal(solver, tiny_prior, problem):
            refused.add(task)
            continue
        found = solver.solve(problem, text, tiny_prior, policy, KeyedNoise([StreamKey(0, "a")]))
        assert found.signal.shape[1:] == problem.signal_shape, task
        assert found.signal.isfinite().all(), task
    of_signals = isinstance(solver, ProjDiff) and not solver.latent
    if not (of_signals or isinstance(solver, SignalSolver | FlowSolver)):  # which take no such prior
        assert refused <= set(NONLINEAR)


@pytest.mark.slow
def test_projdiff_on_signals_restores_or_refuses(tiny_prior: Prior) -> None:
    """On a prior whose signals are its latents: what has no known singular values is refused while there is noise."""
    denoiser = GaussianDenoiser(torch.zeros(1), torch.full((1,), 0.5))
    for task in TASKS:
        problem = posed(task)
        info = replace(
            tiny_prior.info,
            factor=1,
            multiple=1,
            latent_channels=3,
            signal_shape=problem.signal_shape,
            text_layout=None,
        )
        prior = Prior(info, IdentityCodec(), denoiser)
        solver = ProjDiff(steps=3)
        known = isinstance(problem.operator, Masking | SeparableOperator | TightOperator)
        assert (refusal(solver, prior, problem) is None) == (known or problem.sigma == 0), task
        if known or problem.sigma == 0:
            policy = TextPolicy()
            text = policy.start(prior, [{"prompt": ""}])
            found = solver.solve(problem, text, prior, policy, KeyedNoise([StreamKey(0, "a")]))
            assert found.signal.isfinite().all(), task
