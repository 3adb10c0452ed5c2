"""The last projection of a solver ends at the noise level, for every linear preset of ``conf/task``."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.operators.conftest import IDS
from tests.operators.tasks import DAMPED, LINEAR
from treg_exp.operators.discrepancy import at_residual, rmse
from treg_exp.operators.in_range import prox_in_range
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.linear.masking import Identity
from treg_exp.operators.linear.nothing import Nothing
from treg_exp.operators.methods import CG, Descent, Exact
from treg_exp.solvers.last_projection import LastProjection
from treg_exp.tasks.inverse import InverseTask
from treg_exp.tasks.problems import InverseProblem

SHAPE = (3, 16, 16)


@pytest.fixture
def problem(task: InverseTask, operator: LinearOperator, x: Tensor) -> InverseProblem:
    y = operator.A(0.5 * x)
    y = y + operator.measured() * task.noise.sample(y, 0, IDS)
    return InverseProblem(y, operator, task.noise.sigma, task.lam(operator))


@pytest.fixture
def estimates(x: Tensor, x0: Tensor) -> Tensor:
    """Far from the truth, a little, and not at all: errors of 0.12, 0.02 and 0 root mean square."""
    return 0.5 * x + torch.tensor([0.2, 0.04, 0.0]).view(3, *(1,) * (x.dim() - 1)) * x0


@pytest.mark.parametrize(
    "preset",
    [pytest.param(name, marks=pytest.mark.slow if name in DAMPED else ()) for name in LINEAR],
    indirect=True,
)
@pytest.mark.parametrize("prox", [Exact(), CG(5, 1e-4)], ids=["exact", "cg"])
def test_it_ends_at_the_noise(problem: InverseProblem, estimates: Tensor, prox: Exact | CG) -> None:
    project, operator, sigma = LastProjection(prox=prox), problem.operator, problem.sigma
    ended = project(problem, estimates)
    assert ended.shape == estimates.shape
    assert float(ended.abs().max()) <= 1
    if not problem.measured:
        assert torch.equal(ended, estimates)
        return
    before, after = (rmse(operator, problem.y, x) / sigma for x in (estimates, ended))
    for i in range(3):
        part = slice(i, i + 1)
        if before[i] <= 1:  # never pushed away from the measurement
            assert torch.equal(ended[part], estimates[part])
        else:
            assert 0.9 <= after[i] <= 1.1, (float(before[i]), float(after[i]))
        single = InverseProblem(problem.y[part], operator[i], sigma, problem.lam)
        torch.testing.assert_close(project(single, estimates[part]), ended[part], rtol=0, atol=1e-5)


def test_a_weight_per_sample_is_that_of_each_alone(operator: LinearOperator, x0: Tensor, y: Tensor) -> None:
    lam = torch.tensor([0.01, 1.0, 30.0]) * (operator.norm_sq or 1.0)
    for method in (Exact(), CG(5, 0.0), Descent(5)):
        together = operator.prox(y, x0, lam, method)
        for i in range(3):
            part = slice(i, i + 1)
            alone = operator[i].prox(y[part], x0[part], float(lam[i]), method)
            torch.testing.assert_close(together[part], alone, rtol=1e-5, atol=1e-5)


def test_the_residual_of_a_denoiser_has_a_closed_form() -> None:
    """For A = 1 the step is a mean of y and x0, and the residual lam / (1 + lam) of what it was."""
    operator, x0 = Identity(SHAPE), torch.zeros(1, *SHAPE)
    y = 0.5 * torch.ones(1, *SHAPE)
    weights: list[float] = []

    def step(lam: Tensor) -> Tensor:
        weights.extend(lam.tolist())
        return prox_in_range(operator, y, x0, lam)

    found = at_residual(operator, y, x0, 0.1, step, first=0.01)
    torch.testing.assert_close(found, 0.4 * torch.ones_like(y), rtol=0, atol=1e-3)
    assert weights == pytest.approx([0.01, 0.25])  # 0.1 / (0.5 - 0.1), by the first secant step


def test_the_first_weight_is_kept_where_it_is_near() -> None:
    operator, x0 = Identity(SHAPE), torch.zeros(1, *SHAPE)
    y = 0.5 * torch.ones(1, *SHAPE)
    found = at_residual(operator, y, x0, 0.1, lambda lam: prox_in_range(operator, y, x0, lam), first=0.23)
    torch.testing.assert_close(found, y / 1.23)  # a residual of 0.0935


def test_what_no_picture_explains_is_fitted_as_closely_as_pictures_can() -> None:
    """y is 3 everywhere; the nearest picture is 1, at a residual of 2."""
    operator, x0 = Identity(SHAPE), torch.zeros(2, *SHAPE)
    y = torch.full((2, *SHAPE), 3.0)
    y[1] = 0.5
    found = at_residual(operator, y, x0, 0.1, lambda lam: prox_in_range(operator, y, x0, lam), first=0.01)
    torch.testing.assert_close(found[0], torch.ones(SHAPE), rtol=0, atol=2e-3)
    torch.testing.assert_close(found[1], 0.4 * torch.ones(SHAPE), rtol=0, atol=1e-3)


def test_the_search_ends_after_its_evaluations() -> None:
    operator, x0 = Identity(SHAPE), torch.zeros(1, *SHAPE)
    calls: list[Tensor] = []

    def stubborn(lam: Tensor) -> Tensor:
        calls.append(lam)
        return x0

    y = torch.full((1, *SHAPE), 0.5)
    assert torch.equal(at_residual(operator, y, x0, 1e-9, stubborn, 0.01, evaluations=4), x0)
    assert len(calls) <= 4


def test_nothing_measured_is_clamped() -> None:
    operator, x = Nothing(SHAPE), 2 * torch.randn(2, *SHAPE)
    problem = InverseProblem(operator.A(x), operator, 0.01, 0.0)
    assert torch.equal(LastProjection()(problem, x), x.clamp(-1, 1))
