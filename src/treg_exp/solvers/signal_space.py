"""What solvers share whose papers work on signals, with no autoencoder between them and the prior."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.info import PriorInfo
from treg_exp.schedule.levels import Level, Move
from treg_exp.solvers.base import Solver
from treg_exp.tasks.problems import Problem


class SignalSolver(Solver):
    """One that takes a prior of signals only.

    Attributes:
        on_latents: what to take instead on a prior of latents.
    """

    on_latents: str = "solver=ldps, psld, treg or projdiff_latent"

    def check(self, problem: Problem, info: PriorInfo) -> None:
        """See :class:`Solver`; a prior of latents is refused."""
        if isinstance(problem, self.problems) and info.factor != 1:
            raise FieldError(
                "prior", f"{info.latent_channels} channels at 1/{info.factor} of the size",
                f"{type(self).__name__} works on signals, and this prior is one of latents; take a prior of pixels or "
                f"waveforms, or {self.on_latents}",
            )  # fmt: skip
        super().check(problem, info)

    def moves(self, info: PriorInfo, signal_shape: tuple[int, ...]) -> list[Move]:
        """See :class:`Solver`; the last one goes to the clean end."""
        return to_the_clean_end(super().moves(info, signal_shape))


def to_the_clean_end(moves: list[Move]) -> list[Move]:
    """The same moves, the last of them to alpha = 1 and sigma = 0.

    The schedule of Stable Diffusion ends at its first level instead (``set_alpha_to_one`` false), where a noise of 0.03
    is left: nothing for a decoder, but too much where the latent is the signal and must explain the measurement.
    """
    return [*moves[:-1], replace(moves[-1], next=Level(-1, 1.0, 0.0))]


def renoised_up(z: Tensor, low: Level, high: Level, noise: Tensor) -> Tensor:
    """A latent at ``low`` taken back up to ``high`` by the forward process: time travel (RePaint, 2201.09865).

    Args:
        z: (B, *latent_shape) at ``low``.
        low: where it is.
        high: where it goes, with at least as much noise per signal.
        noise: standard normal numbers, shape of z.
    """
    kept = high.alpha / low.alpha
    rest = high.sigma**2 - (kept * low.sigma) ** 2
    rest = rest.clamp(min=0) if isinstance(rest, Tensor) else max(0.0, rest)
    return kept * z + rest**0.5 * noise
