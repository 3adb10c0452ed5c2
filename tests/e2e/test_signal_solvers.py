"""The solvers that take signals, or a flow, on every task of ``conf/task``: each restores, or says why it cannot."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from torch import Tensor

from tests.e2e.test_all_solvers import posed, refusal
from tests.e2e.test_all_tasks import TASKS
from tests.solvers.gaussian import diffusion
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.singular_parts import has_singular_parts
from treg_exp.priors.codecs.identity import IdentityCodec
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.solvers.base import Solver
from treg_exp.solvers.ddnm import DDNM
from treg_exp.solvers.ddrm import DDRM
from treg_exp.solvers.diffpir import DiffPIR
from treg_exp.solvers.dps import DPS
from treg_exp.solvers.flair import FLAIR
from treg_exp.solvers.flow_space import FlowSolver
from treg_exp.solvers.flowdps import FlowDPS
from treg_exp.solvers.red_diff import REDDiff
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.policy import TextPolicy


@dataclass(frozen=True)
class Independent:
    """The denoiser of independent pixels of deviation 0.5; also where no signal is left."""

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """See ``Denoiser``."""
        z_0 = 0.25 * level.alpha / (0.25 * level.alpha**2 + level.sigma**2) * z_t
        return Prediction(z_0, level.noise_in(z_t, z_0))


SOLVERS = (DPS(3), DDRM(3), DDNM(3), DiffPIR(3), REDDiff(3), FlowDPS(3, 0.1), FLAIR(3, data_steps=2))


def able(solver: Solver, problem: InverseProblem) -> bool:
    operator = problem.operator
    if isinstance(solver, DDRM):
        return operator.linear and has_singular_parts(operator)
    if isinstance(solver, DDNM):
        return operator.linear and (has_singular_parts(operator) or problem.sigma == 0)
    if isinstance(solver, FlowDPS):
        return operator.linear
    return operator.linear or operator.differentiable


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_a_solver_restores_or_refuses(solver: Solver) -> None:
    policy, done = TextPolicy(), 0
    schedule, kind = (Flow(shift=3.0), "flow") if isinstance(solver, FlowSolver) else (diffusion(), "epsilon")
    for task in TASKS:
        problem = posed(task)
        info = PriorInfo("image", problem.signal_shape, 3, 1, 1, schedule, kind)
        prior = Prior(info, IdentityCodec(), Independent())
        field = refusal(solver, problem, prior)
        assert (field is None) == able(solver, problem), task
        if field:
            assert field == "operator", task
            continue
        text = policy.start(prior, [{"prompt": ""}])
        found = solver.solve(problem, text, prior, policy, KeyedNoise([StreamKey(0, "a")]))
        assert found.signal.shape[1:] == problem.signal_shape, task
        assert found.signal.isfinite().all(), task
        done += 1
    assert done >= len(TASKS) // 2
