"""ProjDiff on phase retrieval and high dynamic range: its companion, its projections, and whole runs against numpy."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from tests.operators.tasks import load_task
from tests.solvers.gaussian import (
    COVARIANCE,
    IDS,
    MEAN,
    SHAPE,
    SIZE,
    diffusion,
    draw,
    estimate,
    gaussian_prior,
    keyed,
    measured,
    rows,
    solved,
)
from tests.test_config import composed
from treg_exp.errors import FieldError
from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.base import Operator
from treg_exp.operators.methods import Descent
from treg_exp.operators.nonlinear.intensity import GammaCorrection, HighDynamicRange
from treg_exp.operators.nonlinear.jpeg import JPEG
from treg_exp.operators.nonlinear.phase import PhaseRetrieval
from treg_exp.solvers.projdiff import ProjDiff
from treg_exp.solvers.projdiff_companion import Projection, equivalent_noise, uniform
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.policy import TextPolicy

OPERATORS = {
    "hdr": lambda: HighDynamicRange(2.0, SHAPE),
    "hdr of another gain": lambda: HighDynamicRange(3.0, SHAPE),
    "phase": lambda: PhaseRetrieval(2.0, SHAPE, unit_range=False),
    "phase of [0, 1]": lambda: PhaseRetrieval(2.0, SHAPE),
}


@pytest.fixture(params=OPERATORS)
def operator(request: pytest.FixtureRequest) -> Operator:
    return OPERATORS[request.param]()


def pictures(count: int = 2, seed: int = 0) -> torch.Tensor:
    """Those of the prior that ``measured`` measures."""
    x = np.random.default_rng(seed).multivariate_normal(MEAN, COVARIANCE, count)
    return torch.from_numpy(x).float().view(-1, *SHAPE)


def projected(operator: Operator, y: np.ndarray, x: np.ndarray, share: float, projection: Projection) -> np.ndarray:
    """Both projections in float64, rows (2, 192), with loops and a full complex transform."""
    root, saturated_from = np.sqrt(share), projection.saturated_from if share < 1 else 1.0
    if isinstance(operator, HighDynamicRange):
        out = root * y / operator.scale
        for i, j in zip(*np.nonzero(np.abs(y) >= saturated_from), strict=True):
            brightness = x[i, j] * np.sign(y[i, j]) if projection.other_side == "moved" else abs(x[i, j])
            if brightness >= root / operator.scale:
                out[i, j] = x[i, j]
        return out
    assert isinstance(operator, PhaseRetrieval)
    x, y, side = x.reshape(-1, *SHAPE), y.reshape(-1, 3, 12, 12), SHAPE[1]
    for _ in range(projection.times):
        u = (x + root) / 2 if operator.unit_range else x
        frame = np.zeros((len(x), 3, 12, 12))
        frame[..., 2 : 2 + side, 2 : 2 + side] = u
        spectrum = np.fft.fftshift(np.fft.fft2(frame), axes=(2, 3))
        spectrum = root * np.maximum(y, 0) * np.exp(1j * np.angle(spectrum))
        u = 12 * np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(2, 3))).real[..., 2 : 2 + side, 2 : 2 + side]
        x = 2 * u - root if operator.unit_range else u
    return x.reshape(-1, SIZE)


@pytest.mark.parametrize(
    ("task", "expected"),
    [("hdr", 0.05 / 2), ("paper/projdiff_hdr", 0.05 / 2), ("phase_retrieval", 2 * 0.05 * 1.5),
     ("paper/projdiff_phase_retrieval", 0.1 * 1.5)],
)  # fmt: skip
def test_the_level_of_the_companion(task: str, expected: float) -> None:
    """s_eq = s / 2 for a gain of 2, and s (H + 2 p) / H with a padding of a quarter; [0, 1] units double it."""
    loaded = load_task(task)
    operator = loaded.build((3, 64, 64), ["a"])
    assert equivalent_noise(operator, loaded.noise.sigma) == pytest.approx(expected, rel=1e-6)
    problem = loaded.measure(torch.zeros(1, 3, 64, 64), ["a"], (3, 64, 64))
    assert float(uniform(problem, Projection()).share) == pytest.approx(1 / (1 + expected**2), rel=1e-6)


def test_a_companion_is_as_noisy_as_the_measurement() -> None:
    """Magnitudes of a real picture come in pairs; the mean of a pair of y has the error of the companion's magnitude.

    Both are s / sqrt(2) where magnitudes are far above the noise.
    """
    operator, s = PhaseRetrieval(2.0, (3, 32, 32), unit_range=False), 0.01
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 32, 32, generator=draws)
    clean = operator.A(x)
    noisy = operator.A(x + equivalent_noise(operator, s) * torch.randn(x.shape, generator=draws))
    large = clean > 0.3
    assert float((noisy - clean)[large].std()) == pytest.approx(s / 2**0.5, rel=0.03)
    error = torch.fft.ifftshift(s * torch.randn(clean.shape, generator=draws), dim=(-2, -1))
    paired = (error + error.flip(-2, -1).roll((1, 1), (-2, -1))) / 2
    assert float(paired.std()) == pytest.approx(s / 2**0.5, rel=0.03)


def test_what_explains_the_measurement_stays(operator: Operator) -> None:
    """A companion without its noise, sqrt(a) x, is a fixed point of the projection onto sqrt(a) A(x)."""
    x = pictures()
    for sigma in (0.0, 0.3):
        problem = InverseProblem(operator.A(x), operator, sigma, 0.0)
        companion = uniform(problem, Projection(times=3, saturated_from=1.0))
        scaled = companion.share.sqrt() * x
        torch.testing.assert_close(companion.project(scaled), scaled, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("y", "x", "share", "moved", "kept"),
    [(0.4, 0.9, 1.0, 0.2, 0.2), (0.8, 0.9, 1.0, 0.4, 0.4), (1.0, 0.9, 1.0, 0.9, 0.9), (1.0, 0.3, 1.0, 0.5, 0.5),
     (-1.0, -0.7, 1.0, -0.7, -0.7), (-1.0, 0.7, 1.0, -0.5, 0.7), (0.4, 0.9, 0.64, 0.16, 0.16),
     (0.8, 0.9, 0.64, 0.9, 0.9), (0.8, 0.3, 0.64, 0.32, 0.32), (1.1, 0.3, 0.64, 0.44, 0.44)],
)  # fmt: skip
def test_saturated_pixels_are_bounded_and_others_known(
    y: float, x: float, share: float, moved: float, kept: float
) -> None:
    """Seen pixels are y / 2. Saturated ones, from |y| = 1, or 0.5 with noise, are only pulled up to it."""
    operator = HighDynamicRange(2.0, (3, 1, 1))
    problem = InverseProblem(torch.full((1, 3, 1, 1), y), operator, 0.1, 0.0)
    for side, expected in (("moved", moved), ("kept", kept)):
        found = Projection(other_side=side).onto(problem, torch.full((1, 3, 1, 1), x), share)
        torch.testing.assert_close(found, torch.full_like(found, expected))


@pytest.mark.parametrize("scale", [2.0, 3.0])
def test_without_noise_saturated_pixels_are_the_nearest(scale: float) -> None:
    """The projection onto the box of signals that explain y; descent on the data term overshoots it."""
    operator = HighDynamicRange(scale, SHAPE)
    problem, x = measured(operator, 0.0), pictures(seed=5)
    low = torch.where(problem.y <= -1, -torch.inf, problem.y / scale)
    high = torch.where(problem.y >= 1, torch.inf, problem.y / scale)
    torch.testing.assert_close(Projection().onto(problem, x), x.maximum(low).minimum(high))


@pytest.mark.parametrize("unit_range", [True, False])
def test_without_noise_phases_take_a_step_of_error_reduction(unit_range: bool) -> None:
    """As descent on the data term does without a ridge, whose first step it is."""
    operator = PhaseRetrieval(2.0, SHAPE, unit_range)
    problem, x = measured(operator, 0.0), pictures(seed=5)
    expected = operator.prox(problem.y, x, 0.0, Descent(1))
    torch.testing.assert_close(Projection().onto(problem, x), expected, rtol=0, atol=1e-5)


def test_a_second_projection_of_phases_comes_nearer() -> None:
    """Error reduction never goes back (Fienup 1982): every further one has a lower misfit, for each sample."""
    problem, x = measured(PhaseRetrieval(2.0, SHAPE), 0.0), pictures(seed=5)
    misfits = [problem.misfit(Projection(times=n).onto(problem, x)) for n in (1, 2, 3, 10)]
    assert all(bool((after < 0.95 * before).all()) for before, after in pairwise(misfits))


@pytest.mark.parametrize("sigma", [0.0, 0.6])
@pytest.mark.parametrize(
    "projection", [Projection(), Projection(times=2, saturated_from=0.8, other_side="kept")], ids=["plain", "other"]
)
def test_a_run_is_the_algorithm_in_float64(operator: Operator, sigma: float, projection: Projection) -> None:
    """The two-variable form, and the exact one with momentum where there is no noise."""
    steps, momentum = (40, 0.0) if sigma else (20, 0.5)
    problem, eta = measured(operator, sigma), 0.7
    solver = ProjDiff(steps, repeats=2, step_size=eta, momentum=momentum, projection=projection)
    y, moves = rows(problem.y), diffusion().moves(steps)
    a_obs = 1 / (1 + equivalent_noise(operator, sigma) ** 2)
    x_0 = estimate(moves[0].now.sigma * draw("start"), moves[0].now.alpha, moves[0].now.sigma)
    x_obs = np.sqrt(a_obs) * x_0 + np.sqrt(1 - a_obs) * draw("start x_obs")
    early, late, speed = 0, 0, None
    for move in moves:
        now = move.now
        for turn in (0, 1):
            e, a_t = draw("x_t", move.index, turn), now.alpha**2
            if not sigma:
                pull = estimate(now.alpha * x_0 + now.sigma * e, now.alpha, now.sigma) - x_0
                speed = pull if speed is None else momentum * speed + (1 - momentum) * pull
                x_0 = projected(operator, y, x_0 + eta * speed, 1.0, projection)
            elif a_t <= a_obs:
                x_t = np.sqrt(a_t / a_obs) * x_obs + np.sqrt(1 - a_t / a_obs) * e
                x_0 = estimate(x_t, now.alpha, now.sigma)
                x_obs = np.sqrt(a_obs) * x_0 + np.sqrt(1 - a_obs) * draw("x_obs", move.index, turn)
                x_obs, early = projected(operator, y, x_obs, a_obs, projection), early + 1
            else:
                x_t = np.sqrt(a_t) * x_0 + np.sqrt(1 - a_t) * (x_obs - np.sqrt(a_obs) * x_0) / np.sqrt(1 - a_obs)
                x_0, late = x_0 + eta * (estimate(x_t, now.alpha, now.sigma) - x_0), late + 1
    assert not sigma or min(early, late) >= 4  # both parts are run
    np.testing.assert_allclose(
        solved(solver, problem), x_0, rtol=0, atol=5e-4
    )  # phases of small entries amplify rounding


def test_without_noise_high_dynamic_range_holds_exactly() -> None:
    operator = HighDynamicRange(2.0, SHAPE)
    problem = measured(operator, 0.0)
    x = torch.from_numpy(solved(ProjDiff(20, step_size=2.0), problem)).float().view(-1, *SHAPE)
    assert operator.residual(problem.y, x).abs().max() < 1e-6


def test_the_prior_fills_in_what_was_saturated() -> None:
    """Eight pictures, noise 0.05: the error of saturated pixels against those of y / 2 and of no rule."""
    operator, errors = HighDynamicRange(2.0, SHAPE), {"half": 0.0, "rule": 0.0, "none": 0.0}
    for seed in range(4):
        problem, x = measured(operator, 0.05, seed), rows(pictures(seed=seed))
        lost = np.abs(x) > 0.5
        found = {"half": rows(problem.y) / 2, "rule": solved(ProjDiff(50, step_size=1.0), problem)}
        found["none"] = solved(ProjDiff(50, step_size=1.0, projection=Projection(saturated_from=1.0)), problem)
        for name, value in found.items():
            errors[name] += float(((value - x)[lost] ** 2).sum())
    assert errors["rule"] < 0.6 * errors["half"]  # sums of squares 43.4, 76.5 and 66.6
    assert errors["rule"] < 0.7 * errors["none"]


def test_a_batch_is_as_good_as_one(operator: Operator) -> None:
    problem, solver, prior, policy = measured(operator, 0.1), ProjDiff(10), gaussian_prior(), TextPolicy()
    text = policy.start(prior, [{"prompt": ""}])
    noise = KeyedNoise([StreamKey(0, IDS[1])])
    alone = solver.solve(problem.alone(1), text, prior, policy, noise).signal
    text = policy.start(prior, [{"prompt": ""}] * 2)
    together = solver.solve(problem, text, prior, policy, keyed()).signal
    torch.testing.assert_close(alone[0], together[1], rtol=0, atol=1e-5)


def test_other_non_linear_operators_are_refused_by_name() -> None:
    for operator in (GammaCorrection(2.0, SHAPE), JPEG(30, SHAPE)):
        problem, kind = InverseProblem(torch.zeros(2, *SHAPE), operator, 0.05, 0.0), type(operator).__name__
        told = f"operator={kind}: ProjDiff's form uniform takes no non-linear operators but PhaseRetrieval and High"
        with pytest.raises(FieldError, match=told):
            ProjDiff().form_for(problem)
        assert ProjDiff().form_for(replace(problem, sigma=0.0)) == "exact"
    with pytest.raises(FieldError, match="operator=HighDynamicRange: ProjDiff's form spectral takes no non-linear"):
        ProjDiff(form="spectral").form_for(measured(HighDynamicRange(2.0, SHAPE), 0.1))


@pytest.mark.parametrize(("name", "value"), [("times", 0), ("saturated_from", 0.0), ("other_side", "left")])
def test_fields_are_checked(name: str, value: object) -> None:
    with pytest.raises(FieldError, match=f"{name}="):
        Projection(**{name: value})


@pytest.mark.parametrize(
    ("name", "steps", "step_size", "projection"),
    [("projdiff", 100, 0.5, Projection()), ("projdiff_phase", 999, 1.9, Projection(times=2)),
     ("projdiff_hdr", 100, 1.0, Projection(other_side="kept"))],
)  # fmt: skip
def test_published_settings(name: str, steps: int, step_size: float, projection: Projection) -> None:
    expected = ProjDiff(steps, step_size=step_size, projection=projection)
    assert instantiate(composed(f"solver={name}").solver, _convert_="all") == expected
