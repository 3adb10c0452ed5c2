"""How much fresh noise a move takes, and where a consistent estimate is put back on its level."""

from __future__ import annotations

from torch import Tensor

from treg_exp.noise import Noise
from treg_exp.schedule.levels import Level, Move, Number, Prediction


def ddim_share(move: Move, eta: float) -> Number:
    """The share of fresh noise that ``Move`` takes, for DDIM's eta (Song et al., 2021): 0 none, 1 as DDPM.

    DDIM's deviation is eta sqrt((1 - ab_prev) / (1 - ab) (1 - ab / ab_prev)). In units of the next level's noise that
    is eta sqrt(1 - SNR_now / SNR_next), which holds for every family of schedules.
    """
    ratio = (move.now.alpha * move.next.sigma / (move.next.alpha * move.now.sigma)) ** 2
    rest = 1 - ratio
    if isinstance(rest, Tensor):
        return eta * rest.clamp(min=0).sqrt()
    return float(eta * max(0.0, rest) ** 0.5)


def ddim(move: Move, at: Prediction, eta: float, noise: Noise, step: int | None = None, inner: int = 0) -> Tensor:
    """One step of DDIM; its noise is that of the step of the run, ``move.index`` unless another one is given."""
    if not eta:
        return move(at)
    fresh = noise.normal("ddim", move.index if step is None else step, inner, like=at.z_0)
    return move(at, ddim_share(move, eta), fresh)


def resampled(z: Tensor, z_0: Tensor, level: Level, variance: Number, noise: Tensor) -> Tensor:
    """A draw from the product of N(alpha z_0, sigma^2) and N(z, variance): ReSample's stochastic resampling.

    Args:
        z: (B, *latent_shape) latent at ``level``.
        z_0: (B, *latent_shape) estimate that explains the measurement.
        level: where z is.
        variance: of what is known of z; large values trust ``z_0``.
        noise: standard normal numbers, shape of z.
    """
    own = level.sigma**2
    total = own + variance
    return (variance * level.alpha * z_0 + own * z) / total + (variance * own / total) ** 0.5 * noise
