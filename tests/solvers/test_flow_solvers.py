"""FlowDPS and FLAIR on a Gaussian flow, against their formulas in dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.solvers.gaussian import (
    COVARIANCE,
    MEAN,
    SHAPE,
    NoNoise,
    dense,
    draw,
    estimate,
    gaussian_prior,
    measured,
    rows,
    solved,
)
from treg_exp.errors import FieldError
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.linear.blur import GaussianBlur
from treg_exp.operators.linear.nothing import Nothing
from treg_exp.operators.nonlinear.intensity import HighDynamicRange
from treg_exp.priors.counting import counted
from treg_exp.schedule.flow import Flow
from treg_exp.solvers.flair import FLAIR
from treg_exp.solvers.flow_space import pulled_back
from treg_exp.solvers.flowdps import FlowDPS
from treg_exp.tasks.problems import InverseProblem

FLOW = Flow(shift=3.0)


@pytest.mark.parametrize("pullback", ["pinv", "adjoint", "none"])
def test_flowdps_is_its_algorithm(pullback: str) -> None:
    """The gradient of ||B (y - A z)|| is -(B A)^T B r / ||B r||; ends, blend and renoising as the paper writes them."""
    operator, step = BicubicDownsampling(factor=2, signal_shape=SHAPE), 0.4
    problem, A = measured(operator, 0.05), dense(operator)
    B = {"pinv": np.linalg.pinv(A), "adjoint": A.T, "none": np.eye(len(A))}[pullback]
    y, z = rows(problem.y), draw("start")
    for move in FLOW.moves(12):
        s, after = move.now.sigma, move.next.sigma
        z_0 = estimate(z, 1 - s, s)
        v = (z - z_0) / s
        z_1, fitted = z + (1 - s) * v, z_0
        for _ in range(3):
            pulled = (y - fitted @ A.T) @ B.T
            fitted = fitted + step * pulled @ (B @ A) / np.linalg.norm(pulled, axis=1, keepdims=True)
        z_y = (1 - s) * z_0 + s * fitted
        noise = np.sqrt(after) * z_1 + np.sqrt(1 - after) * draw("ddim", move.index)
        z = z_y + after * (noise - z_y)
    found = solved(FlowDPS(12, step, 3, pullback), problem, FLOW)
    np.testing.assert_allclose(found, z, rtol=0, atol=2e-4)


def test_flowdps_steps_are_as_long_as_they_say() -> None:
    """With B = A^+ of an average every step is one of length ``step_size``, straight towards the measurement."""
    operator = AveragePooling(2, SHAPE)
    problem, z_0 = measured(operator, 0.0), torch.zeros(2, *SHAPE)
    prior = gaussian_prior(FLOW)
    before = np.linalg.norm(rows(operator.pinv(operator.residual(problem.y, z_0))), axis=1)
    after = FlowDPS(step_size=0.5, inner_steps=2).consistent(problem, prior, z_0)
    left = np.linalg.norm(rows(operator.pinv(operator.residual(problem.y, after))), axis=1)
    np.testing.assert_allclose(before - left, 2 * 0.5, rtol=1e-5)
    torch.testing.assert_close(operator.null_space(after), torch.zeros(2, *SHAPE), rtol=0, atol=1e-6)


def test_flowdps_with_nothing_measured_samples_the_prior() -> None:
    problem = InverseProblem(torch.zeros(2, 0), Nothing(SHAPE), 0.0, 0.0)
    plain = solved(FlowDPS(8, inner_steps=0), problem, Flow())
    np.testing.assert_array_equal(solved(FlowDPS(8), problem, Flow()), plain)


def test_flowdps_without_gradient_steps_samples_the_prior() -> None:
    """Deterministic, 4,000 samples have mean and variance of the prior; fresh noise costs 30 % of the variance.

    That noise stands in for some that z_1 had, and nothing makes up for the part of the signal that went with it: a
    property of the method, which does not vanish with more steps.
    """
    nothing = InverseProblem(torch.zeros(4000, 0), Nothing(SHAPE), 0.0, 0.0)
    for fresh, variance in ((False, 0.245), (True, 0.173)):
        x = solved(FlowDPS(160, inner_steps=0, fresh=fresh), nothing, Flow(), _Plain())
        assert np.abs(x.mean(0) - MEAN).max() < 0.03
        assert x.var(0).mean() == pytest.approx(variance, abs=0.01)


class _Plain:
    """Numbers of one stream, for a batch that is a statistic."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def normal(self, purpose: str, step: int = 0, inner: int = 0, *, like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=self.generator)


@pytest.mark.parametrize("weights", [(0.5,), (0.5, 0.2, 0.1)])
def test_flair_is_its_algorithm(weights: tuple[float, ...]) -> None:
    operator = BicubicDownsampling(factor=2, signal_shape=SHAPE)
    problem, A, solver = measured(operator, 0.05), dense(operator), FLAIR(9, weights=weights, data_steps=4)
    y, mu, e = rows(problem.y), rows(operator.pinv(problem.y)), draw("start")
    times = np.linspace(1, 0.18, 9)
    w_of = np.interp(np.linspace(0, 1, 9), np.linspace(0, 1, len(weights)), weights) if len(weights) > 1 else [0.5] * 9
    for k, (t, w) in enumerate(zip(times, w_of, strict=True)):
        e = (1 - t) * e + np.sqrt(1 - (1 - t) ** 2) * draw("renoise", k)
        z = (1 - t) * mu + t * e
        v = (z - estimate(z, 1 - t, t)) / t
        mu = mu - w * (v - (e - mu))
        for _ in range(4):
            r = y - mu @ A.T
            going = (r**2).mean(1, keepdims=True) >= 1e-4
            mu = mu + np.where(going, 0.1 / operator.norm_sq * w * 2 * r @ A, 0)
        e = z + (1 - t) * v
    np.testing.assert_allclose(solved(solver, problem, FLOW), mu, rtol=0, atol=1e-4)


def test_flair_looks_at_nothing_where_its_weight_is_zero() -> None:
    """The last of the paper's times moves nothing, and costs no decoding."""
    problem, mu = measured(AveragePooling(2, SHAPE), 0.0), torch.ones(2, *SHAPE)
    solver = FLAIR(9, weights=(0.5, 0.0), stop=0.0)
    prior, calls = counted(gaussian_prior(FLOW))
    assert solver.weight(8) == 0
    assert torch.equal(solver.fitted(problem, prior, mu, solver.weight(8)), mu)
    assert calls.decodes == 0
    assert not torch.equal(solver.fitted(problem, prior, mu, solver.weight(7)), mu)
    assert calls.decodes == 2 * 15


def test_flair_fits_as_hard_as_it_says() -> None:
    """With enough steps no sample is left above the limit, and none goes far below it."""
    operator = AveragePooling(2, SHAPE)
    problem = measured(operator, 0.0)
    for stop in (1e-3, 1e-5):
        x = solved(FLAIR(10, weights=(0.15,), data_steps=2000, stop=stop), problem, FLOW)
        residual = operator.residual(problem.y, torch.from_numpy(x).float().view(-1, *SHAPE))
        square = residual.square().flatten(1).mean(1)
        assert (square < stop).all()
        assert (square > 0.2 * stop).all()


def test_flair_without_noise_ends_between_prior_and_measurement() -> None:
    """The most probable signal that explains y, which is the conditional mean of a Gaussian, to 0.3 % of its deviation.

    Without fresh noise the prior's step contracts to E[z_0 | z_t], and the descent holds y.
    """
    operator = AveragePooling(8, SHAPE)
    problem, A = measured(operator, 0.0), dense(operator)
    solver = FLAIR(200, t_end=0.15, weights=(0.15,), data_steps=200, data_lr=0.5, stop=1e-10)
    x = solved(solver, problem, FLOW, NoNoise())
    weight = np.linalg.inv(A @ COVARIANCE @ A.T)
    conditional = MEAN + (rows(problem.y) - A @ MEAN) @ weight @ A @ COVARIANCE
    assert np.sqrt(((x - conditional) ** 2).mean()) < 0.003 * 0.5
    assert np.sqrt(((rows(operator.pinv(problem.y)) - conditional) ** 2).mean()) > 0.1  # where it began


def test_only_flows_are_taken() -> None:
    problem = measured(AveragePooling(2, SHAPE), 0.0)
    for solver in (FlowDPS(), FLAIR()):
        name = type(solver).__name__
        with pytest.raises(FieldError, match=f"prior=VariancePreserving: {name} is written for rectified flows"):
            solver.check(problem, gaussian_prior().info)
        solver.check(problem, gaussian_prior(FLOW).info)


@pytest.mark.parametrize(
    ("operator", "pullback"),
    [
        (AveragePooling(2, SHAPE), "pinv"), (GaussianBlur(1.0, 5, SHAPE), "adjoint"),
        (HighDynamicRange(2.0, SHAPE), "none"),
    ],
)  # fmt: skip
def test_a_blur_is_pulled_back_by_its_transpose_an_average_by_its_inverse(operator: Operator, pullback: str) -> None:
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    problem = InverseProblem(operator.A(x), operator, 0.0, 0.0)
    residual = operator.residual(problem.y, 0.5 * x)
    expected = residual if pullback == "none" else getattr(operator, pullback)(residual)
    torch.testing.assert_close(pulled_back(problem, 0.5 * x, "auto"), expected, rtol=0, atol=0)


def test_a_pullback_needs_a_linear_operator() -> None:
    operator = HighDynamicRange(2.0, SHAPE)
    problem = InverseProblem(torch.zeros(2, *SHAPE), operator, 0.0, 0.0)
    with pytest.raises(FieldError, match="operator=HighDynamicRange: FlowDPS needs a linear operator"):
        FlowDPS(pullback="pinv").check(problem, gaussian_prior(FLOW).info)
    FlowDPS().check(problem, gaussian_prior(FLOW).info)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: FlowDPS(step_size=-1.0), "step_size"), (lambda: FlowDPS(inner_steps=-1), "inner_steps"),
        (lambda: FlowDPS(pullback="x"), "pullback"), (lambda: FLAIR(t_end=1.0), "t_end"),
        (lambda: FLAIR(weights=[]), "weights"), (lambda: FLAIR(weights=[2.0]), "weights"),
        (lambda: FLAIR(data_steps=-1), "data_steps"), (lambda: FLAIR(data_lr=0.0), "data_lr"),
        (lambda: FLAIR(stop=-1.0), "stop"), (lambda: FLAIR(start="x"), "start"),
    ],
)  # fmt: skip
def test_wrong_values_are_named(make: object, field: str) -> None:
    with pytest.raises(FieldError) as caught:
        make()
    assert caught.value.field == field
