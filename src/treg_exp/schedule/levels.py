"""Noise levels and the moves between them, the same for every family of schedules.

z_t = alpha z_0 + sigma eps. A level holds floats, or tensors that broadcast over a batch: of 1 or B rows, (B, 1, 1, 1)
for one level per sample and (B, c, h, w) for one per place. No formula here divides by a number that can vanish on a
level where the network's kind of output makes sense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from treg_exp.errors import FieldError

Number = float | Tensor
Kind = Literal["epsilon", "v_prediction", "sample", "flow", "edm"]
EDM_DATA_STD = 0.5  # of images in [-1, 1], as EDM assumes
#: Below this alpha nothing of the signal is left that a noise estimate could be turned into.
NO_SIGNAL = 1e-4


@dataclass(frozen=True)
class Prediction:
    """What the network believes about z_t, in both forms.

    Attributes:
        z_0: estimate of the clean signal (Tweedie's posterior mean), shape of z_t.
        eps: estimate of the noise, shape of z_t.
    """

    z_0: Tensor
    eps: Tensor

    def detach(self) -> Prediction:
        """The same values outside the graph."""
        return Prediction(self.z_0.detach(), self.eps.detach())


@dataclass(frozen=True)
class Level:
    """One noise level.

    Attributes:
        t: what the network is told, in its own units: one number for all samples or, as a tensor, one for each.
        alpha: weight of the signal in z_t.
        sigma: weight of the noise in z_t.
    """

    t: Number
    alpha: Number
    sigma: Number

    def noisy(self, z_0: Tensor, eps: Tensor) -> Tensor:
        """z_t = alpha z_0 + sigma eps."""
        return self.alpha * z_0 + self.sigma * eps

    def map(self, change: Callable[[Tensor], Tensor]) -> Level:
        """The level with its tensors changed, for a batch that is put together in another way; floats stay."""
        t, alpha, sigma = (
            change(value) if isinstance(value, Tensor) else value for value in (self.t, self.alpha, self.sigma)
        )
        return Level(t, alpha, sigma)

    def tiled(self, times: int) -> Level:
        """The level of a batch that is ``times`` copies of this one's, one after the other."""
        return self.map(lambda value: torch.cat([value] * times) if value.dim() and len(value) > 1 else value)

    def predict(self, output: Tensor, z_t: Tensor, kind: Kind) -> Prediction:
        """Both estimates from a network's output.

        Args:
            output: of the network, shape of z_t.
            z_t: (B, ...) noisy signal.
            kind: ``epsilon``: output is eps. ``sample``: z_0. ``v_prediction``: alpha eps - sigma z_0, scaled so that
                alpha^2 + sigma^2 = 1. ``flow``: the velocity eps - z_0. ``edm``: F of Karras et al. (2206.00364,
                table 1), for signals of standard deviation `EDM_DATA_STD` and alpha = 1.
        """
        if kind == "epsilon":
            return Prediction((z_t - self.sigma * output) / self.alpha, output)
        if kind == "sample":
            return Prediction(output, self.noise_in(z_t, output))
        if kind == "v_prediction":
            return Prediction(self.alpha * z_t - self.sigma * output, self.alpha * output + self.sigma * z_t)
        if kind == "edm":
            total = self.sigma**2 + EDM_DATA_STD**2
            z_0 = EDM_DATA_STD**2 / total * z_t + self.sigma * EDM_DATA_STD / total**0.5 * output
            return Prediction(z_0, self.noise_in(z_t, z_0))
        total = self.alpha + self.sigma
        return Prediction((z_t - self.sigma * output) / total, (z_t + self.alpha * output) / total)

    @property
    def signal_share(self) -> Number:
        """alpha^2 / (alpha^2 + sigma^2): 0 in pure noise, 1 at the clean end, whatever the family of the schedule."""
        return self.alpha**2 / (self.alpha**2 + self.sigma**2)

    def noise_in(self, z_t: Tensor, z_0: Tensor) -> Tensor:
        """The noise (z_t - alpha z_0) / sigma; zero where a level has none."""
        if isinstance(self.sigma, Tensor):
            usable = self.sigma > 0
            return torch.where(usable, (z_t - self.alpha * z_0) / torch.where(usable, self.sigma, 1.0), 0.0)
        return (z_t - self.alpha * z_0) / self.sigma if self.sigma > 0 else torch.zeros_like(z_t)


@dataclass(frozen=True)
class Move:
    """One step of a sampler, down (sampling) or up (inversion).

    Attributes:
        index: 0-based position in the run.
        now: the level of z_t.
        next: the level after the step.
    """

    index: int
    now: Level
    next: Level

    def __call__(self, at: Prediction, eta: Number = 0.0, noise: Tensor | None = None) -> Tensor:
        """next.alpha z_0 + next.sigma (sqrt(1 - eta^2) eps + eta noise).

        Args:
            at: estimates at ``now``.
            eta: share of fresh noise in [0, 1]: 0 is DDIM (Song et al., 2021), 1 forgets eps. TReg's renoising is
                eta = next.alpha.
            noise: standard normal numbers of the shape of z_t; needed unless eta is 0.

        Raises:
            ValueError: there is no noise to take a share of.
        """
        if noise is None:
            if isinstance(eta, Tensor) or eta:
                raise ValueError("a move with eta takes noise")
            return self.next.alpha * at.z_0 + self.next.sigma * at.eps
        kept = (1 - eta**2).clamp(min=0).sqrt() if isinstance(eta, Tensor) else math.sqrt(max(0.0, 1 - eta**2))
        return self.next.alpha * at.z_0 + self.next.sigma * (kept * at.eps + eta * noise)


class Schedule(Protocol):
    """The noise levels that a network was trained on, and those that a sampler visits."""

    def moves(self, steps: int, latent_shape: Sequence[int] = ()) -> list[Move]:
        """``steps`` moves downwards, from almost pure noise to the clean end.

        Args:
            steps: how many.
            latent_shape: of one latent without the batch axis; some schedules depend on its size.

        Raises:
            FieldError: more steps than the schedule has levels, or none.
        """
        ...

    def level(self, t: float) -> Level:
        """The level at which the network is told ``t``."""
        ...


def reversed_moves(moves: Sequence[Move]) -> list[Move]:
    """The same levels upwards, for inversion: from the clean end to the first level of ``moves``.

    A network knows no time of the clean end: whoever walks upwards says what it is told at the first move, see
    ``solvers/inversion.py``.
    """
    return [Move(k, move.next, move.now) for k, move in enumerate(reversed(moves))]


def check_kind(kind: str) -> Kind:
    """``kind`` itself.

    Raises:
        FieldError: not one of the kinds of output that `Level.predict` knows.
    """
    if kind not in get_args(Kind):
        raise FieldError("prediction_type", kind, f"allowed are {', '.join(get_args(Kind))}")
    return kind  # type: ignore[return-value]


def check_moves(moves: Sequence[Move], kind: Kind) -> None:
    """Refuse levels at which a network of this kind says nothing about the signal.

    Raises:
        FieldError: a noise estimate is asked for where no signal is left (zero terminal SNR needs another kind).
    """
    low = [move.now.t for move in moves if not isinstance(move.now.alpha, Tensor) and move.now.alpha < NO_SIGNAL]
    if kind == "epsilon" and low:
        raise FieldError(
            "prediction_type", kind, f"the schedule has no signal at timestep {low[0]} (rescale_betas_zero_snr), where "
            "a noise estimate says nothing about it; such a schedule needs v_prediction or sample, or "
            "timestep_spacing=leading and fewer steps"
        )  # fmt: skip
