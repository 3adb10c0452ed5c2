"""A prior that is a Gaussian with correlated pixels: every estimate and every posterior has a closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from treg_exp.noise import KeyedNoise, StreamKey
from treg_exp.operators.base import Operator
from treg_exp.priors.codecs.identity import IdentityCodec
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.levels import Level, Move, Prediction, Schedule
from treg_exp.schedule.variance_preserving import VariancePreserving
from treg_exp.solvers.base import OnStep, Solver, ignore
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.policy import TextPolicy

SHAPE = (3, 8, 8)
SIZE = int(np.prod(SHAPE))
IDS = ("apple", "bear")


def covariance(reach: float = 2.0, colours: float = 0.5) -> np.ndarray:
    """(192, 192) of deviation 0.5: correlation exp(-distance / reach) along both axes, ``colours`` between channels."""
    places = np.arange(SHAPE[1])
    axis = np.exp(-np.abs(places[:, None] - places[None, :]) / reach)
    channels = colours + (1 - colours) * np.eye(SHAPE[0])
    return 0.25 * np.kron(channels, np.kron(axis, axis))


MEAN = np.random.default_rng(1).uniform(-0.3, 0.3, SIZE)
COVARIANCE = covariance()


def estimate(z: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
    """E[z_0 | z_t] of rows z (B, 192), in float64."""
    return MEAN + (z - alpha * MEAN) @ gain(alpha, sigma).T


def gain(alpha: float, sigma: float) -> np.ndarray:
    """The slope of ``estimate``: alpha C (alpha^2 C + sigma^2)^-1."""
    return alpha * COVARIANCE @ np.linalg.inv(alpha**2 * COVARIANCE + sigma**2 * np.eye(SIZE))


@dataclass(frozen=True)
class CorrelatedGaussian:
    """The denoiser of N(MEAN, COVARIANCE); differentiable."""

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """See ``Denoiser``."""
        slope = torch.from_numpy(gain(level.alpha, level.sigma))
        mean = torch.from_numpy(MEAN)
        z_0 = (mean + (z_t.flatten(1).double() - level.alpha * mean) @ slope.T).float().view_as(z_t)
        return Prediction(z_0, level.noise_in(z_t, z_0))


@dataclass(frozen=True)
class OneLevel:
    """A schedule that stays where it is."""

    alpha: float
    sigma: float

    def level(self, t: float) -> Level:
        """See ``Schedule``."""
        return Level(t, self.alpha, self.sigma)

    def moves(self, steps: int, latent_shape: Sequence[int] = ()) -> list[Move]:
        """See ``Schedule``."""
        return [Move(k, now, after) for k, (now, after) in enumerate(pairwise([self.level(0)] * (steps + 1)))]


@dataclass(frozen=True)
class NoNoise:
    """Zeros for every draw."""

    def normal(self, purpose: str, step: int = 0, inner: int = 0, *, like: Tensor) -> Tensor:
        """See ``Noise``."""
        return torch.zeros_like(like)


def diffusion() -> VariancePreserving:
    """Stable Diffusion's betas."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    table = (1 - betas).cumprod().tolist()
    return VariancePreserving(table, 1.0)


def gaussian_prior(schedule: Schedule | None = None) -> Prior:
    """On Stable Diffusion's schedule unless there is another; a flow has the kind of one."""
    schedule = schedule or diffusion()
    kind = "flow" if isinstance(schedule, Flow) else "epsilon"
    return Prior(PriorInfo("image", SHAPE, 3, 1, 1, schedule, kind), IdentityCodec(), CorrelatedGaussian())


def dense(operator: Operator) -> np.ndarray:
    """The matrix of a linear operator, (m, 192)."""
    columns = operator.A(torch.eye(SIZE).view(SIZE, *SHAPE))
    return columns.flatten(1).double().numpy().T


def measured(operator: Operator, sigma: float, seed: int = 0) -> InverseProblem:
    """Two samples of the prior, measured."""
    rng = np.random.default_rng(seed)
    x = rng.multivariate_normal(MEAN, COVARIANCE, len(IDS))
    y = operator.A(torch.from_numpy(x).float().view(-1, *SHAPE))
    noise = torch.from_numpy(rng.standard_normal(y.shape)).float() * operator.measured()
    return InverseProblem(y + sigma * noise, operator, sigma, 0.1)


def keyed() -> KeyedNoise:
    """The streams of the two samples."""
    return KeyedNoise([StreamKey(0, i) for i in IDS])


def draw(purpose: str, step: int = 0, inner: int = 0) -> np.ndarray:
    """What a solver draws, as rows (2, 192)."""
    return keyed().normal(purpose, step, inner, like=torch.zeros(len(IDS), *SHAPE)).flatten(1).double().numpy()


def rows(x: Tensor) -> np.ndarray:
    """(B, ...) as rows."""
    return x.flatten(1).double().numpy()


def solved(
    solver: Solver, problem: InverseProblem, schedule: Schedule | None = None, noise: object = None,
    on_step: OnStep = ignore,
) -> np.ndarray:  # fmt: skip
    """The restorations as rows (2, 192), after the solver's own check."""
    prior, policy = gaussian_prior(schedule), TextPolicy()
    solver.check(problem, prior.info)
    text = policy.start(prior, [{"prompt": ""}] * problem.batch_size)
    return rows(solver.solve(problem, text, prior, policy, noise or keyed(), on_step).signal)
