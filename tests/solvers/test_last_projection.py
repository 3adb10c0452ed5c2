"""The last projection: after any solver what it is in TReg, and refused where there is nothing to project onto."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tests.solvers.test_best_of import IDS, PROMPTS, keyed, solve
from treg_exp.errors import FieldError
from treg_exp.operators.discrepancy import rmse
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.methods import CG
from treg_exp.operators.nonlinear.jpeg import JPEG
from treg_exp.operators.nonlinear.phase import PhaseRetrieval
from treg_exp.solvers.base import BEFORE_PROJECTION
from treg_exp.solvers.best_of import CHOSEN, BestOf
from treg_exp.solvers.last_projection import LastProjection, Projected
from treg_exp.solvers.latent_dps import LatentDPS
from treg_exp.solvers.treg import TReg
from treg_exp.solvers.unconditional import Unconditional
from treg_exp.tasks.problems import EditProblem, InverseProblem
from treg_exp.text.policy import TextPolicy

SIGMA = 0.01
WITH = TReg(steps=4)
WITHOUT = replace(WITH, final_projection=False)


@pytest.fixture(scope="module")
def problem() -> InverseProblem:
    """Noisy pictures in [-1, 1], so that one with a residual of sigma exists."""
    noise = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 64, 64, generator=noise) * 1.6 - 0.8
    operator = BicubicDownsampling(factor=8, signal_shape=(3, 64, 64))
    y = operator.A(x)
    return InverseProblem(y + SIGMA * torch.randn(y.shape, generator=noise), operator, SIGMA, 1e-4)


def test_after_treg_without_its_own_it_is_treg(tiny_prior, problem) -> None:
    whole, parts = (solve(solver, tiny_prior, problem) for solver in (WITH, Projected(WITHOUT)))
    assert torch.equal(parts.signal, whole.signal)
    assert torch.equal(parts.extras[BEFORE_PROJECTION], whole.extras[BEFORE_PROJECTION])


def test_what_treg_has_projected_stays_as_it_is(tiny_prior, problem) -> None:
    again = solve(Projected(replace(WITH, final_residual=2.0)), tiny_prior, problem)
    assert torch.equal(again.signal, solve(replace(WITH, final_residual=2.0), tiny_prior, problem).signal)


def test_results_meet_the_measurement_and_the_chain_is_that_of_the_solver(tiny_prior, problem) -> None:
    solver = LatentDPS(steps=3)
    alone = solve(solver, tiny_prior, problem).signal
    projected = solve(Projected(solver, LastProjection(residual=1.5)), tiny_prior, problem)
    assert torch.equal(projected.extras[BEFORE_PROJECTION], alone)
    before, after = (rmse(problem.operator, problem.y, x) / SIGMA for x in (alone, projected.signal))
    assert (before > 5).all()
    torch.testing.assert_close(after, torch.full_like(after, 1.5), rtol=0.1, atol=0)
    assert projected.signal.abs().max() <= 1


def test_a_result_that_is_none_stays_as_it_is(problem) -> None:
    """Clamped it would be saved as a picture, and half precision would not be tried again in float32."""
    x = torch.zeros(4, 3, 64, 64)
    x[1, 0, 0, 0], x[2, 0, 0, 0] = torch.inf, torch.nan
    projected = LastProjection()(problem, x)
    assert projected.flatten(1).isfinite().all(1).tolist() == [True, False, False, True]
    torch.testing.assert_close(projected[1:3], x[1:3], rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(projected[:1], LastProjection()(problem.of_sample(0), x[:1]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.0, 0.05])
def test_without_noise_and_without_linearity_the_ridge_says_how_far_it_goes(tiny_prior, sigma: float) -> None:
    target = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    operator = PhaseRetrieval(1.0, (3, 64, 64)) if sigma else BicubicDownsampling(8, (3, 64, 64))
    problem = InverseProblem(operator.A(target), operator, sigma, 1e-4)
    noise, prompts = keyed(IDS[:2]), PROMPTS[:2]
    alone = solve(Unconditional(steps=2), tiny_prior, problem, noise, prompts).signal
    projected = solve(Projected(Unconditional(steps=2)), tiny_prior, problem, noise, prompts).signal
    expected = operator.prox(problem.y, alone, 1e-4).clamp(-1, 1)
    assert rmse(operator, problem.y, projected).max() < 0.2 * rmse(operator, problem.y, alone).min()
    if sigma:
        assert torch.equal(projected, expected)


def test_a_sample_gets_what_it_gets_alone(tiny_prior, problem) -> None:
    together = solve(Projected(LatentDPS(steps=2)), tiny_prior, problem).signal
    alone = solve(Projected(LatentDPS(steps=2)), tiny_prior, problem.of_sample(1), keyed(IDS[1:2]), PROMPTS[1:2]).signal
    torch.testing.assert_close(alone[0], together[1], rtol=0, atol=1e-4)


def test_the_best_of_several_tries_is_projected_once_it_is_known(tiny_prior, problem) -> None:
    best = solve(BestOf(WITHOUT, candidates=2), tiny_prior, problem)
    projected = solve(Projected(BestOf(WITHOUT, candidates=2)), tiny_prior, problem)
    assert torch.equal(projected.extras[BEFORE_PROJECTION], best.signal)
    assert torch.equal(projected.extras[CHOSEN], best.extras[CHOSEN])
    each = solve(BestOf(Projected(WITHOUT), candidates=2), tiny_prior, problem)
    assert torch.equal(each.signal, solve(BestOf(WITH, candidates=2), tiny_prior, problem).signal)


def test_it_is_what_the_other_solver_is(tiny_prior) -> None:
    solver = Projected(Unconditional(steps=5))
    assert (solver.steps, solver.title) == (5, "Unconditional and a last projection")
    assert (solver.uses_text, solver.needs_gradient, solver.tells_next) == (True, True, False)
    assert (Projected(LatentDPS()).tells_next, BestOf(WITH).title) == (True, "BestOf of TReg")
    assert (Projected(WITH).title, solver.cautions(TextPolicy())) == ("TReg", [])
    assert Projected(BestOf(WITH)).cautions(TextPolicy()) == [
        "BestOf of TReg has a last projection of its own, so last_step changes nothing"
    ]


def test_what_cannot_be_projected_is_refused(tiny_prior, problem) -> None:
    info = tiny_prior.info
    phase = PhaseRetrieval(2, (3, 64, 64))
    nonlinear = InverseProblem(phase.A(torch.zeros(1, 3, 64, 64)), phase, SIGMA, 1e-4)
    with pytest.raises(
        FieldError, match=r"^last_step=LastProjection: meets a measurement, and a signal to edit has none"
    ):
        Projected(Unconditional()).check(EditProblem(torch.zeros(1, 3, 64, 64)), info)
    jpeg = JPEG(50, (3, 64, 64), rounding="exact")
    steps = InverseProblem(jpeg.A(torch.zeros(1, 3, 64, 64)), jpeg, SIGMA, 1e-4)
    with pytest.raises(FieldError, match=r"^last_step=LastProjection: needs the gradient of the data term, and JPEG"):
        Projected(Unconditional()).check(steps, info)
    with pytest.raises(FieldError, match=r"^last_step\.prox=CG: solves linear equations, and PhaseRetrieval is non"):
        Projected(TReg(), LastProjection(prox=CG())).check(nonlinear, info)
    Projected(TReg()).check(nonlinear, info)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lam", -1.0),
        ("residual", 0.0),
        ("residual", -1),
        ("iterations", -1),
        ("iterations", 100001),
        ("penalty", 0.0),
        ("residual", math.nan),
        ("penalty", math.nan),
    ],
)
def test_wrong_values_are_refused(field: str, value: float) -> None:
    with pytest.raises(FieldError, match=f"^{field}={value}: must be "):
        LastProjection(**{field: value})
