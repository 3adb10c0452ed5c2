"""LMAP-RPS: the most likely latent by descent, and sampling that begins again from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_at_least, check_integers, check_positive
from treg_exp.noise import Noise
from treg_exp.numerics.adamw import AdamW
from treg_exp.numerics.leaf import norms, squares
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level, Move
from treg_exp.schedule.ratios import level_of_ratio
from treg_exp.solvers.base import OnStep, Restoration, Solver, StepInfo, ignore
from treg_exp.solvers.latent_dps import LatentDPS
from treg_exp.solvers.recomputing import recomputing
from treg_exp.tasks.problems import InverseProblem, Problem
from treg_exp.text.condition import TextCondition
from treg_exp.text.match.image_text import ImageTextMatch
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState


def released_adam() -> AdamW:
    """For super-resolution x4 with Stable Diffusion 1.5 (released code)."""
    return AdamW(lr=2.0, iterations=100, lr_end=0.0)


@dataclass(frozen=True)
class LatentMAP(Solver):
    """LMAP-RPS (ICML 2026, 2605.28711).

    From z = E(preview of y), descent on ||y - A D(z)||^2 + weight <eps(alpha z + sigma xi), z> with fresh xi and the
    estimate of the noise taken as a constant, at one low noise level. The gradient runs through the decoder alone.
    eps is the noise that the text policy's estimate of z_0 leaves, so that every rule which moves this estimate counts.
    Then, with ``refine``, noise is added again and another solver samples from there, with the texts as they are then.

    Attributes:
        adam: of the descent; its ``iterations`` are steps. The loss may be negative: without a ``stop`` all are taken.
        weight: of the prior.
        plain_norm: ||y - A D(z)|| instead of its square (the released code's ``stable``).
        noise_ratio: sigma / alpha of the level at which the prior is asked (released: timestep 50 of Stable Diffusion).
        refine: the solver that samples afterwards; None ends with the descent (released: t0 = 0). The released samplers
            are not quite these, see docs/solvers.md.
        refine_from: where it begins, as a share of its steps (released: t0 = 600 of 1000).
        text_every: period in iterations of ``TextPolicy.update``, after which null text and prompt may move.
        checkpoint: compute again instead of keeping what the descent's gradient needs; ``refine`` has its own.
    """

    adam: AdamW = field(default_factory=released_adam)
    weight: float = 0.15
    plain_norm: bool = False
    noise_ratio: float = 0.2256
    refine: LatentDPS | None = None
    refine_from: float = 0.6
    text_every: int = 1
    checkpoint: bool = False
    needs_gradient = True

    def __post_init__(self) -> None:
        if self.adam.iterations < 1:
            raise FieldError("adam.iterations", self.adam.iterations, "must be >= 1")
        check_at_least(self, 0, "weight")
        check_positive(self, "noise_ratio")
        if not 0 < self.refine_from <= 1:
            raise FieldError("refine_from", self.refine_from, "must be in (0, 1]")
        check_integers(self, 1, "text_every")
        object.__setattr__(self, "steps", self.adam.iterations + self._later)
        object.__setattr__(self, "tells_next", self.refine is not None)
        object.__setattr__(self, "needs_linear", self.refine is not None and self.refine.needs_linear)

    def check(self, problem: Problem, info: PriorInfo) -> None:
        """See :class:`Solver`."""
        super().check(problem, info)
        if self.refine is not None:
            try:
                self.refine.check(problem, info)
            except FieldError as error:
                raise error if error.field in ("problem", "operator") else error.at("refine") from error

    def cautions(self, policy: TextPolicy) -> Sequence[str]:
        """See :class:`Solver`; those of the solver that goes on."""
        return self.refine.cautions(policy) if self.refine is not None else ()

    def check_policy(self, policy: TextPolicy) -> None:
        """See :class:`Solver`; a text match must pull where the prior is asked."""
        super().check_policy(policy)
        if self.refine is not None and policy.moves_text:
            for name in ("stop", "plateau"):  # one sample's text would move on while others have not stopped
                if (value := getattr(self.adam, name)) is not None:
                    raise FieldError(f"adam.{name}", value, "must be null where a text moves and refine follows")
        match, share = policy.text_match, 1 / (1 + self.noise_ratio**2)
        if self.refine is None and isinstance(match, ImageTextMatch) and not match.start <= share <= match.stop:
            field = "stop" if share > match.stop else "start"
            raise FieldError(
                f"text_match.{field}", getattr(match, field), f"LatentMAP asks the prior once {share:.2f} of z_t is "
                f"signal, where it would not pull; take text_match.{field}={int(share > match.stop)}, or text_match=off"
            )  # fmt: skip

    @property
    def _later(self) -> int:
        """Steps of the refinement."""
        return 0 if self.refine is None else max(1, round(self.refine_from * self.refine.steps))

    def moves(self, info: PriorInfo, signal_shape: tuple[int, ...]) -> list[Move]:
        """Those of the refinement; the descent has one level."""
        info.latent_shape(signal_shape)
        self.level(info)
        return [] if self.refine is None else self.refine.moves(info, signal_shape)[-self._later :]

    def level(self, info: PriorInfo) -> Level:
        """Where the prior is asked."""
        return level_of_ratio(info.schedule, self.noise_ratio)

    @torch.no_grad()
    def solve(
        self, problem: InverseProblem, text: TextCondition, prior: Prior, policy: TextPolicy, noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:  # fmt: skip
        """See :class:`Solver`."""
        level = self.level(prior.info)

        def report(index: int, z: Tensor) -> None:
            on_step(StepInfo(Move(index, level, level), self.steps, z, z))

        start = prior.encode(problem.preview())
        network = recomputing(prior) if self.checkpoint else prior
        objective = _Objective(self, problem, text, network, policy, noise)
        z = self.adam.minimise(objective, start, after=report)
        if self.refine is not None:
            moves = self.moves(prior.info, problem.signal_shape)
            z_t = moves[0].now.noisy(z, noise.normal("renoise", like=z))
            first = self.adam.iterations - moves[0].index

            def later(info: StepInfo) -> None:
                move = replace(info.move, index=info.move.index + first)
                on_step(replace(info, move=move, total=self.steps))

            z = self.refine.sampled(moves, z_t, problem, objective.text, prior, policy, noise, later)
        return Restoration(prior.decode(z))


@dataclass
class _Objective:
    """The loss of one iteration after the other, (B, *latent_shape) -> (B,), and the texts, which may move."""

    solver: LatentMAP
    problem: InverseProblem
    text: TextCondition
    prior: Prior
    policy: TextPolicy
    noise: Noise
    index: int = 0

    def __call__(self, z: Tensor) -> Tensor:
        solver, problem = self.solver, self.problem
        level, size = solver.level(self.prior.info), norms if solver.plain_norm else squares
        x = self.prior.decode(z)
        with torch.no_grad():
            z_t = level.noisy(z, self.noise.normal("prior", self.index, like=z))
            told = self.policy.prepare(self.prior, z_t, level, self.text, problem.misfit)
            at = self.policy.predict(self.prior, z_t, level, told)
            eps = level.noise_in(z_t, at.z_0)
            self.text = told
            if self.policy.moves_text and self.index % solver.text_every == 0:
                state = StepState(z_t, level, at, x.detach(), problem.misfit)
                self.text = self.policy.update(self.prior, told, state)
        self.index += 1
        misfit = size(problem.operator.residual(problem.y, x))
        return misfit + solver.weight * (eps * z).flatten(1).sum(1)
