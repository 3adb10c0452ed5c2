"""What solvers share whose papers work on signals, with no autoencoder between them and the prior."""

from __future__ import annotations

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.info import PriorInfo
from treg_exp.schedule.levels import Level
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
