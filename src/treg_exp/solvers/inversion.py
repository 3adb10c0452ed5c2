"""DDIM inversion and back: what a latent looks like that a prior turns into a given signal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from treg_exp.noise import Noise
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Move, reversed_moves
from treg_exp.solvers.base import OnStep, Restoration, Solver, StepInfo, check_steps, ignore
from treg_exp.tasks.problems import EditProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy


@dataclass(frozen=True)
class Inversion(Solver):
    """Deterministic moves up with the source text, and down again with the prompt (Song et al., 2021; DDIM inversion).

    With the same text both ways the signal comes back, up to the error of the steps. Another prompt edits it.

    Attributes:
        steps: moves in each direction.
    """

    steps: int = 50
    problems = (EditProblem,)
    roles = ("source",)
    uses_noise = False

    def __post_init__(self) -> None:
        check_steps(self.steps)

    @torch.no_grad()
    def solve(
        self, problem: EditProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`; ``latents["inverted"]`` is the noise that the source was turned into."""
        down = self.moves(prior.info, problem.signal_shape)
        source = text.role("source")
        z_t = prior.encode(problem.source)
        for move in reversed_moves(down):
            z_t = move(prior.predict(z_t, asked(move), source))
        inverted = z_t
        for move in down:
            at = policy.predict(prior, z_t, move.now, text)
            z_t = move(at)
            on_step(StepInfo(move, self.steps, at.z_0, z_t))
        return Restoration(prior.decode(z_t), latents={"inverted": inverted})


def asked(move: Move) -> Level:
    """The level that the network is asked at for a move upwards.

    No network knows the time of the clean end. The first move therefore tells it the time of the level above, as DDIM
    inversion usually does for all moves, with the weights of the clean end, which are those of the latent. All other
    moves ask at their own level: with the shipped prior the round trip is 4.4 dB better so (12 test images).
    """
    if move.index > 0:
        return move.now
    if not isinstance(move.now.sigma, Tensor) and move.now.sigma == 0:
        return move.next  # where no noise is left, an estimate of the signal says nothing about the noise
    return Level(move.next.t, move.now.alpha, move.now.sigma)
