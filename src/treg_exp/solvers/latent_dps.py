"""LDPS, GML-DPS and PSLD: sampling with a gradient of the measurement through network, decoder and encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_at_least, check_choices, check_shares
from treg_exp.noise import Noise
from treg_exp.numerics.leaf import leaf_gradient, norms
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.methods import EXACT, ProxMethod
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Move, Prediction
from treg_exp.solvers.base import OnStep, Restoration, Solver, StepInfo, check_steps, first_latent, ignore
from treg_exp.solvers.recomputing import recomputing
from treg_exp.solvers.renoising import ddim
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy
from treg_exp.text.prompt_rule import PreparingPromptRule
from treg_exp.text.state import StepState

Gluing = Literal["none", "autoencoder", "measurement"]
Back = Literal["normalised", "adjoint", "pinv", "replicate"]


@dataclass(frozen=True)
class LatentDPS(Solver):
    """Posterior sampling for latent diffusion (Rout et al., NeurIPS 2023, 2307.00619), and what it grew from.

        z_{t-1} = DDIM(z_t) - grad_{z_t} [omega ||y - A D(z_0)|| + gamma ||z_0 - E(x)||]

    with z_0 the estimate at z_t, and x by ``gluing``: nothing (LDPS), D(z_0) (GML-DPS), or D(z_0) with what was
    measured put in, B y + D(z_0) - B A D(z_0) (PSLD). Norms are not squared, so a step has about the length omega
    whatever the residual (official code; the paper writes squares). On a prior of pixels LDPS is DPS (Chung et al.,
    ICLR 2023). With ``project_every`` and the prompt rule ``prompt_tuning`` it is P2L (Chung et al., 2310.01110).

    Attributes:
        steps: sampling steps.
        gluing: ``none``, ``autoencoder`` or ``measurement``.
        omega: step size of the measurement's norm, in units of the latent.
        gamma: step size of the gluing norm, likewise.
        back: B of PSLD: ``adjoint`` A^T (paper), ``normalised`` A^T / ||A||^2, ``pinv``, or ``replicate``, pixels
            repeated to the size of the signal (the official scripts).
        eta: DDIM's share of fresh noise, in [0, 1].
        project_every: every so many steps the estimate is projected, z_0 <- E(argmin ||y - A x||^2 + lam ||x -
            D(z_0)||^2) (P2L); the last step is one of them; 0 never.
        lam: ridge of this projection; None takes the measurement's.
        prox: how it is computed.
        text_every: period in steps of ``TextPolicy.update``, after which null text and prompt may move.
        checkpoint: compute again instead of keeping what the gradient needs: less memory, a forward pass more.
    """

    steps: int = 999
    gluing: Gluing = "none"
    omega: float = 1.0
    gamma: float = 0.1
    back: Back = "normalised"
    eta: float = 0.0
    project_every: int = 0
    lam: float | None = None
    prox: ProxMethod = EXACT
    text_every: int = 1
    checkpoint: bool = False
    needs_gradient = True
    tells_next = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_choices(self, gluing=Gluing, back=Back)
        check_at_least(self, 0, "omega", "gamma")
        check_shares(self, "eta")
        if self.lam is not None and not self.lam >= 0:
            raise FieldError("lam", self.lam, "must be >= 0, or null for the measurement's")
        if self.project_every < 0:
            raise FieldError("project_every", self.project_every, "must be >= 0 (0: never)")
        check_at_least(self, 1, "text_every")
        object.__setattr__(self, "needs_linear", self.gluing == "measurement")

    def check_operator(self, operator: Operator) -> None:
        """See :class:`Solver`; pixels can be repeated only where y is a picture of the signal, of a whole scale."""
        super().check_operator(operator)
        if self.gluing != "measurement" or self.back != "replicate":
            return
        (channels, *sides), (kept, *small) = operator.signal_shape, operator.measurement_shape
        alike = operator.pictured and kept == channels and len(small) == len(sides)
        scales = {divmod(side, own) for side, own in zip(sides, small, strict=False) if own}
        if not alike or len(scales) != 1 or next(iter(scales))[1]:
            raise FieldError(
                "back", self.back, f"repeats the pixels of y, and {type(operator).__name__} measures no smaller "
                "picture; take normalised, adjoint or pinv"
            )  # fmt: skip

    def cautions(self, policy: TextPolicy) -> Sequence[str]:
        """See :class:`Solver`."""
        tunes = isinstance(policy.prompt_rule, PreparingPromptRule) and policy.reads_prompt
        if not self.project_every or tunes:
            return ()
        told = f"project_every={self.project_every} is P2L's projection, but no rule tunes the prompt as P2L does"
        return (f"{told} (prompt_rule=prompt_tuning)",)

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        moves = self.moves(prior.info, problem.signal_shape)
        z_t = first_latent(moves[0], noise, prior.empty_latent(problem.empty_signal()))
        return Restoration(prior.decode(self.sampled(moves, z_t, problem, text, prior, policy, noise, on_step)))

    def sampled(
        self, moves: Sequence[Move], z_t: Tensor, problem: InverseProblem, text: TextCondition, prior: Prior,
        policy: TextPolicy, noise: Noise, on_step: OnStep,
    ) -> Tensor:  # fmt: skip
        """The last latent of a run that takes ``moves`` from z_t."""
        network = recomputing(prior) if self.checkpoint else prior
        for move in moves:
            text = policy.prepare(network, z_t, move.now, text, problem.misfit)
            told = text

            def loss(z: Tensor) -> tuple[Tensor, tuple[Prediction, Tensor]]:
                at = policy.predict(network, z, move.now, told)  # noqa: B023 - called within this turn
                x = network.decode(at.z_0)
                return self.loss(problem, network, at.z_0, x), (at.detach(), x.detach())

            gradient, _, (at, x) = leaf_gradient(loss, z_t)
            if self.project_every and (self.steps - 1 - move.index) % self.project_every == 0:
                x = self.projected(problem, x)
                at = Prediction(prior.encode(x), at.eps)
            z_next = ddim(move, at, self.eta, noise) - gradient
            if move.index % self.text_every == 0:
                state = StepState(z_t, move.now, at, x, problem.misfit, z_next, move.next)
                text = policy.update(prior, text, state)
            z_t = z_next
            on_step(StepInfo(move, self.steps, at.z_0, z_t))
        return z_t

    def loss(self, problem: InverseProblem, prior: Prior, z_0: Tensor, x: Tensor) -> Tensor:
        """The loss omega ||y - A x|| + gamma ||z_0 - E(glued x)|| of each sample, (B,)."""
        value = self.omega * norms(problem.operator.residual(problem.y, x))
        if self.gluing == "none" or not self.gamma:
            return value
        return value + self.gamma * norms(prior.encode(self.glued(problem, x)) - z_0)

    def glued(self, problem: InverseProblem, x: Tensor) -> Tensor:
        """The signals (B, *signal_shape) that z_0 is to be the code of."""
        if self.gluing == "autoencoder":
            return x
        operator = problem.operator
        assert isinstance(operator, LinearOperator), "check() refuses others"
        return x + self.pulled_back(operator, operator.residual(problem.y, x))

    def pulled_back(self, operator: LinearOperator, residual: Tensor) -> Tensor:
        """B of a residual, (B, *measurement_shape) -> (B, *signal_shape)."""
        if self.back == "replicate":
            return F.interpolate(residual, operator.signal_shape[1:])
        if self.back == "pinv":
            return operator.pinv(residual)
        scale = (operator.norm_sq or 1.0) if self.back == "normalised" else 1.0
        return operator.adjoint(residual) / scale

    def projected(self, problem: InverseProblem, x: Tensor) -> Tensor:
        """The proximal step of P2L."""
        return problem.operator.prox(problem.y, x, problem.ridge(self.lam), self.prox)
