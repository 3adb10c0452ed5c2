"""DPS, DDRM, DDNM, DiffPIR and RED-diff on a Gaussian prior, against their formulas in dense matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.solvers.gaussian import (
    COVARIANCE,
    MEAN,
    SHAPE,
    SIZE,
    CorrelatedGaussian,
    NoNoise,
    OneLevel,
    dense,
    diffusion,
    draw,
    estimate,
    gain,
    gaussian_prior,
    keyed,
    measured,
    rows,
    solved,
)
from treg_exp.errors import FieldError
from treg_exp.numerics.adamw import AdamW
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.linear.masking import BoxInpainting
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.schedule.levels import Level, Move, Prediction
from treg_exp.solvers.base import Solver, StepInfo
from treg_exp.solvers.ddnm import DDNM
from treg_exp.solvers.ddrm import DDRM
from treg_exp.solvers.diffpir import DiffPIR
from treg_exp.solvers.dps import DPS
from treg_exp.solvers.latent_dps import LatentDPS
from treg_exp.solvers.red_diff import REDDiff
from treg_exp.solvers.signal_space import renoised_up
from treg_exp.text.policy import TextPolicy

OPERATORS = {
    "bicubic": lambda: BicubicDownsampling(factor=2, signal_shape=SHAPE),
    "average": lambda: AveragePooling(2, SHAPE),
    "box": lambda: BoxInpainting((0.25, 0.25, 0.5, 0.5), SHAPE),
}
TOLERANCE = 2e-5  # float32 against float64


@pytest.fixture(params=OPERATORS)
def operator(request: pytest.FixtureRequest) -> LinearOperator:
    return OPERATORS[request.param]()


def moves(steps: int) -> list[Move]:
    return diffusion().moves(steps)


def singular(operator: LinearOperator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U (m, 192), all 192 singular values, V (192, 192) of the dense matrix; columns of U beyond m are zero."""
    A = dense(operator)
    u, s, vh = np.linalg.svd(A, full_matrices=True)
    wide = np.zeros((len(A), SIZE))
    wide[:, : min(A.shape)] = u[:, : min(A.shape)]
    values = np.pad(s, (0, SIZE - len(s)))
    return wide, np.where(values > 1e-6, values, 0.0), vh.T


@pytest.mark.parametrize("sigma", [0.0, 0.1])
@pytest.mark.parametrize("eta_b", [1.0, 0.6])
def test_ddrm_is_its_closed_form_in_the_singular_directions(
    operator: LinearOperator, sigma: float, eta_b: float
) -> None:
    problem, steps, eta = measured(operator, sigma), 20, 0.85
    U, s, V = singular(operator)
    noise_of_y = np.divide(sigma, s, out=np.full(SIZE, np.inf), where=s > 0)
    v_y = np.divide(rows(problem.y) @ U, s, out=np.zeros((2, SIZE)), where=s > 0)
    first = moves(steps)[0].now
    told = noise_of_y <= first.sigma / first.alpha
    deviation = np.sqrt(first.sigma**2 - np.where(told, first.alpha * noise_of_y, 0) ** 2)
    v = np.where(told, first.alpha * v_y, 0) + deviation * (draw("start") @ V)
    for move in moves(steps):
        v_0 = estimate(v @ V.T, move.now.alpha, move.now.sigma) @ V
        n, (a, sd) = draw("ddrm", move.index) @ V, (move.next.alpha, move.next.sigma)
        level, kept = sd / a, np.sqrt(1 - eta**2)  # variance exploding, as the paper writes it
        unseen = v_0 + kept * level * (v - move.now.alpha * v_0) / move.now.sigma + eta * level * n
        with np.errstate(invalid="ignore", divide="ignore"):
            noisier = v_0 + kept * level * np.nan_to_num((v_y - v_0) / noise_of_y) + eta * level * n
            better = v_0 + eta_b * (v_y - v_0) + np.sqrt(np.maximum(level**2 - (eta_b * noise_of_y) ** 2, 0)) * n
        v = a * np.where(s == 0, unseen, np.where(noise_of_y <= level, better, noisier))
    found = solved(DDRM(steps, eta, eta_b), problem)
    np.testing.assert_allclose(found, v @ V.T, rtol=0, atol=2e-4)


@pytest.mark.parametrize("solver", [DDRM(20), DDNM(30), DiffPIR(30), DDNM(30, travel_length=5, travel_repeats=3)])
def test_without_noise_the_measurement_holds(solver: object, operator: LinearOperator) -> None:
    """A x = y to 1e-5, and in the null space of A the result is what the prior makes of it."""
    problem, seen = measured(operator, 0.0), list[StepInfo]()
    x = torch.from_numpy(solved(solver, problem, on_step=seen.append)).float().view(-1, *SHAPE)
    assert operator.residual(problem.y, x).abs().max() < 1e-5
    if isinstance(solver, DDRM):  # tells the estimate of the prior itself
        torch.testing.assert_close(operator.null_space(x), operator.null_space(seen[-1].z_0), rtol=0, atol=1e-5)


def test_ddnm_in_the_null_space_is_the_sampler_alone() -> None:
    """Where the covariance has no entries between seen and unseen, the latter never hear of the measurement."""
    operator = BoxInpainting((0.25, 0.25, 0.5, 0.5), SHAPE)
    first, second = (solved(DDNM(20), measured(operator, 0.0, seed)) for seed in (0, 1))
    hidden = dense(operator).sum(0) == 0
    assert np.abs(first - second)[:, hidden].max() > 0.1  # neighbours do tell
    expected = np.zeros((2, SIZE))
    x = draw("start")
    y = rows(measured(operator, 0.0).y)
    for move in moves(20):
        z_0 = estimate(x, move.now.alpha, move.now.sigma)
        e = (x - move.now.alpha * z_0) / move.now.sigma
        expected = np.where(hidden, z_0, y)
        kept = np.sqrt(1 - 0.85**2)
        x = move.next.alpha * expected + move.next.sigma * (kept * e + 0.85 * draw("ddim", move.index))
    np.testing.assert_allclose(first, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("noise_estimate", ["network", "consistent"])
@pytest.mark.parametrize("eta", [0.85, None])
def test_ddnm_plus_is_its_closed_form(operator: LinearOperator, noise_estimate: str, eta: float | None) -> None:
    """The noise of y that x_next carries and the fresh one add up to the share that fresh noise has, or to less."""
    problem, steps = measured(operator, 0.2), 25
    U, s, V = singular(operator)
    v_y = np.divide(rows(problem.y) @ U, s, out=np.zeros((2, SIZE)), where=s > 0)
    x, full = draw("start"), 0
    for move in moves(steps):
        now, after = move.now, move.next
        posterior = np.sqrt(1 - (now.alpha / after.alpha) ** 2) * after.sigma / now.sigma  # DDPM's deviation
        fresh = eta * after.sigma if eta is not None else posterior
        kept = np.sqrt(after.sigma**2 - fresh**2)
        z_0 = estimate(x, now.alpha, now.sigma)
        c = after.alpha - (kept * now.alpha / now.sigma if noise_estimate == "consistent" else 0)
        carried = np.divide(c * 0.2, s, out=np.zeros(SIZE), where=s > 0)
        lam = np.where(s > 0, np.minimum(1, np.divide(fresh, carried, out=np.ones(SIZE), where=carried > 0)), 0)
        phi = fresh**2 - (lam * carried) ** 2
        assert phi.min() > -1e-9
        full += (np.abs((lam * carried) ** 2 + phi - fresh**2) < 1e-12).sum()
        corrected = z_0 + (lam * (v_y - z_0 @ V)) @ V.T
        e = (x - now.alpha * (z_0 if noise_estimate == "network" else corrected)) / now.sigma
        n = (np.sqrt(np.maximum(phi, 0)) * (draw("ddim", move.index) @ V)) @ V.T
        x = after.alpha * corrected + kept * e + n
    assert full == steps * SIZE
    found = solved(DDNM(steps, eta, noise_estimate), problem)
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-4)


def test_ddnm_plus_without_noise_of_its_own_is_refused() -> None:
    operator = OPERATORS["box"]()
    with pytest.raises(FieldError, match=r"eta=0\.0: without noise of its own DDNM\+ has no room for that of y"):
        DDNM(20, eta=0.0).check(measured(operator, 0.1), gaussian_prior().info)
    DDNM(20, eta=0.0).check(measured(operator, 0.0), gaussian_prior().info)
    DDNM(20, eta=0.0, plus="never").check(measured(operator, 0.1), gaussian_prior().info)


def test_time_travel_repeats_parts_of_the_run() -> None:
    """Levels 0 to 3, back to 0 by fresh noise, 0 to 3 again; then the rest likewise."""
    operator = BoxInpainting((0.25, 0.25, 0.5, 0.5), SHAPE)
    problem, y = measured(operator, 0.0), rows(measured(operator, 0.0).y)
    hidden, x, seen = dense(operator).sum(0) == 0, draw("start"), list[StepInfo]()
    for begin in (0, 3):
        part = moves(6)[begin : begin + 3]
        for turn in (0, 1):
            if turn:
                ratio = part[0].now.alpha / part[-1].next.alpha
                deviation = np.sqrt(part[0].now.sigma ** 2 - (ratio * part[-1].next.sigma) ** 2)
                x = ratio * x + deviation * draw("travel", begin, 1)
            for move in part:
                z_0 = estimate(x, move.now.alpha, move.now.sigma)
                e = (x - move.now.alpha * z_0) / move.now.sigma
                mixed = np.sqrt(1 - 0.85**2) * e + 0.85 * draw("ddim", move.index, turn)
                x = move.next.alpha * np.where(hidden, z_0, y) + move.next.sigma * mixed
    found = solved(DDNM(6, travel_length=3, travel_repeats=2), problem, on_step=seen.append)
    np.testing.assert_allclose(found, x, rtol=0, atol=TOLERANCE)
    assert [info.move.index for info in seen] == list(range(6))


@pytest.mark.parametrize("solver", [DPS(20), DDRM(20), DDNM(20), DiffPIR(20), DiffPIR(20, grid="prior"), REDDiff(20)])
def test_the_last_step_ends_without_noise(solver: Solver) -> None:
    """Stable Diffusion's schedule ends at a level with noise of 0.03, which a latent may keep and a signal may not."""
    info = replace(gaussian_prior().info, schedule=replace(diffusion(), final_alpha=0.99915))
    assert info.moves(20, SHAPE)[-1].next.sigma == pytest.approx(0.029, abs=1e-3)
    last = solver.moves(info, SHAPE)[-1].next
    assert (last.alpha, last.sigma) == (1.0, 0.0)


def test_going_back_up_keeps_the_marginal() -> None:
    low, high = Level(100, 0.8, 0.6), Level(400, 0.3, 0.9)
    z = low.noisy(torch.full((1, 100_000), 2.0), torch.randn(1, 100_000, generator=torch.Generator().manual_seed(0)))
    up = renoised_up(z, low, high, torch.randn(1, 100_000, generator=torch.Generator().manual_seed(1)))
    assert float(up.mean()) == pytest.approx(2.0 * 0.3, abs=0.01)
    assert float(up.std()) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("sigma", [0.0, 0.1])
@pytest.mark.parametrize("grid", ["prior", "quadratic"])
def test_diffpir_is_half_quadratic_splitting(operator: LinearOperator, sigma: float, grid: str) -> None:
    """Every data step is the exact minimiser, with rho = lam (sigma_y alpha / sigma)^2."""
    problem, solver, seen = measured(operator, sigma), DiffPIR(25, lam=7.0, zeta=0.3, grid=grid), list[StepInfo]()
    found = solved(solver, problem, on_step=seen.append)
    A, y, x = dense(operator), rows(problem.y), draw("start")
    for move, info in zip(solver.moves(gaussian_prior().info, SHAPE), seen, strict=True):
        now, after = move.now, move.next
        z_0 = estimate(x, now.alpha, now.sigma)
        rho = max(7.0 * (sigma * now.alpha / now.sigma) ** 2, 1e-9)
        x_y = np.linalg.solve(A.T @ A + rho * np.eye(SIZE), (y @ A + rho * z_0).T).T
        np.testing.assert_allclose(rows(info.z_0), x_y, rtol=0, atol=1e-4)
        e = (x - now.alpha * x_y) / now.sigma
        x = after.alpha * x_y + after.sigma * (np.sqrt(0.7) * e + np.sqrt(0.3) * draw("ddim", move.index))
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-4)


def test_the_quadratic_grid_of_diffpir() -> None:
    info = gaussian_prior().info
    times = [move.now.t for move in DiffPIR(10).moves(info, SHAPE)]
    assert times == [999, 942, 881, 816, 745, 666, 577, 471, 333, 0]
    assert [move.now.t for move in DiffPIR(1).moves(info, SHAPE)] == [999]
    with pytest.raises(FieldError, match="steps=900: too many for 1000 timesteps with grid=quadratic"):
        DiffPIR(900).moves(info, SHAPE)


@pytest.mark.parametrize("likelihood", ["norm", "square"])
def test_dps_descends_along_the_analytic_gradient(operator: LinearOperator, likelihood: str) -> None:
    """With x_0 = m + K (x - alpha m) it is -K^T A^T r / ||r|| of the norm, -2 K^T A^T r of its square."""
    problem, zeta = measured(operator, 0.05), 0.3 if likelihood == "norm" else 0.02
    A, y, x = dense(operator), rows(problem.y), draw("start")
    for move in moves(30):
        now, after = move.now, move.next
        z_0 = estimate(x, now.alpha, now.sigma)
        r = y - z_0 @ A.T
        slope = -(r @ A) @ gain(now.alpha, now.sigma)
        slope = slope / np.linalg.norm(r, axis=1, keepdims=True) if likelihood == "norm" else 2 * slope
        fresh = np.sqrt(1 - (now.alpha / after.alpha) ** 2) * after.sigma / now.sigma  # DDPM's
        e = (x - now.alpha * z_0) / now.sigma
        kept = np.sqrt(after.sigma**2 - fresh**2)
        x = after.alpha * z_0 + kept * e + fresh * draw("ddim", move.index) - zeta * slope
    found = solved(DPS(30, zeta, likelihood), problem)
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-4)


class Clipped(CorrelatedGaussian):
    """A network whose scheduler clips the estimate, and leaves the noise as it was."""

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """See ``Denoiser``."""
        at = super().predict(z_t, level, text)
        return Prediction(at.z_0.clamp(-0.2, 0.2), at.eps)


def test_dps_takes_the_step_of_ddpm_from_a_clipped_estimate() -> None:
    """The mean of q(x_{t-1} | x_t, x_0) knows x_t and the clipped x_0 alone."""
    prior = replace(gaussian_prior(), denoiser=Clipped())
    problem, x = measured(OPERATORS["box"](), 0.05), draw("start")
    for move in moves(30):
        now, after = move.now, move.next
        z_0 = estimate(x, now.alpha, now.sigma).clip(-0.2, 0.2)
        ratio = now.alpha / after.alpha
        beta = 1 - ratio**2
        mean = (after.alpha * beta * z_0 + ratio * after.sigma**2 * x) / now.sigma**2
        x = mean + np.sqrt(beta) * after.sigma / now.sigma * draw("ddim", move.index)
    policy = TextPolicy()
    found = DPS(30, zeta=0.0).solve(problem, policy.start(prior, [{"prompt": ""}] * 2), prior, policy, keyed()).signal
    np.testing.assert_allclose(rows(found), x, rtol=0, atol=1e-4)


def test_dps_is_ldps_without_a_decoder(operator: LinearOperator) -> None:
    problem = measured(operator, 0.05)
    ldps = solved(LatentDPS(steps=20, gluing="none", omega=0.3, eta=1.0), problem)
    np.testing.assert_allclose(solved(DPS(20, 0.3), problem), ldps, rtol=0, atol=1e-6)


def test_red_diff_ends_at_the_posterior_mean() -> None:
    """At a low level the regulariser's curvature is lam sigma^2 C^-1: the posterior for lam sigma^2 = 2 sigma_y^2.

    In general, with one level and no noise, it ends at the minimum of ||y - A mu||^2 + lam/2 (mu - m)^T R (mu - m) with
    R = sigma^2 (alpha^2 C + sigma^2)^-1.
    """
    sigma_y, operator = 0.1, BicubicDownsampling(factor=2, signal_shape=SHAPE)
    problem, A = measured(operator, sigma_y), dense(operator)
    adam = AdamW(lr=0.05, iterations=0, betas=(0.9, 0.99), weight_decay=0.0, lr_end=0.0)
    for level, bound in ((0.01, 2e-3), (0.6, 2e-3)):
        schedule = OneLevel(np.sqrt(1 - level**2), level)
        solver = REDDiff(1500, lam=2 * (sigma_y / level) ** 2, optimiser=adam)
        found = solved(solver, problem, schedule, NoNoise())
        R = level**2 * np.linalg.inv(schedule.alpha**2 * COVARIANCE + level**2 * np.eye(SIZE))
        minimum = np.linalg.solve(2 * A.T @ A + solver.lam * R, (2 * (rows(problem.y) - A @ MEAN) @ A).T).T + MEAN
        assert np.abs(found - minimum).max() < bound
        if level == 0.01:
            weight = np.linalg.inv(A @ COVARIANCE @ A.T + sigma_y**2 * np.eye(len(A)))
            posterior = MEAN + (rows(problem.y) - A @ MEAN) @ weight @ A @ COVARIANCE
            assert np.abs(found - posterior).max() < 5e-3


def test_red_diff_takes_adams_steps_along_its_two_gradients() -> None:
    """2 A^T (A mu - y) + lam sigma / alpha (e - n), as the paper writes it."""
    operator = AveragePooling(2, SHAPE)
    problem, A, lam = measured(operator, 0.05), dense(operator), 0.25
    y, mu = rows(problem.y), rows(operator.pinv(problem.y))
    first, second = np.zeros_like(mu), np.zeros_like(mu)
    for k, move in enumerate(moves(12)):
        now, n = move.now, draw("x_t", move.index)
        x_t = now.alpha * mu + now.sigma * n
        e = (x_t - now.alpha * estimate(x_t, now.alpha, now.sigma)) / now.sigma
        g = 2 * (mu @ A.T - y) @ A + lam * now.sigma / now.alpha * (e - n)
        first, second = 0.9 * first + 0.1 * g, 0.99 * second + 0.01 * g**2
        root = np.sqrt(second / (1 - 0.99 ** (k + 1))) + 1e-8
        mu = mu - 0.1 * first / (1 - 0.9 ** (k + 1)) / root
    np.testing.assert_allclose(solved(REDDiff(12), problem), mu, rtol=0, atol=1e-3)
