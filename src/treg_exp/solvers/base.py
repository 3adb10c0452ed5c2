"""The contract of every solver."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.noise import Noise
from treg_exp.operators.base import Operator
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Move
from treg_exp.tasks.problems import InverseProblem, Problem
from treg_exp.text.condition import TextCondition
from treg_exp.text.policy import TextPolicy

#: Among ``Restoration.extras``: the signal before a last projection onto the measurement, in the shape of the result.
BEFORE_PROJECTION = "before_projection"


@dataclass(frozen=True)
class StepInfo:
    """What a solver reports after each step (progress bars read it).

    Attributes:
        move: the step that was taken.
        total: number of steps of this restoration.
        z_0: (B, *latent_shape) estimate, or None for solvers without a latent.
        z_next: (B, *latent_shape) latent that the next step begins with, likewise.
        attempt: number of the try that the step belongs to, where a solver makes several and keeps one; None elsewhere.
    """

    move: Move
    total: int
    z_0: Tensor | None = None
    z_next: Tensor | None = None
    attempt: int | None = None


@dataclass(frozen=True)
class Restoration:
    """What comes back for a batch.

    Attributes:
        signal: (B, *signal_shape) in [-1, 1] units; not clamped.
        latents: further latents by name, such as the inverted one, (B, *latent_shape) each.
        extras: anything else worth judging, by name, with B as leading axis: metrics see it, nothing of it is saved.
    """

    signal: Tensor
    latents: Mapping[str, Tensor] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)


OnStep = Callable[[StepInfo], None]


def ignore(info: StepInfo) -> None:
    """The default ``on_step``: nobody is watching."""


class Solver(ABC):
    """One algorithm. Pure with respect to its inputs, batch-first; samples of a batch never influence each other.

    Attributes:
        steps: number of times ``on_step`` is called per batch (progress bars and time estimates rely on it).
        problems: kinds of problems that it solves.
        roles: of further texts that it reads, beside those that the text policy does.
        uses_text: False for solvers that never look at a text.
        reads_prompt: True for solvers that look at the prompt whatever the text policy does.
        uses_noise: False for solvers that draw no random numbers.
        keeps_masked: True for solvers that leave what the mask of an edit protects as it is.
        needs_linear: True for solvers that take an adjoint or a pseudo-inverse.
        needs_gradient: True for solvers that take a proximal step or a gradient of the data term.
        projects: True for solvers that end with a projection onto the measurement, and return what was before it.
        tells_next: True for solvers that tell rules of text the latent of the next step, ``StepState.z_next``.
    """

    steps: int
    problems: ClassVar[tuple[type[Problem], ...]] = (InverseProblem,)
    roles: ClassVar[tuple[str, ...]] = ()
    uses_text: ClassVar[bool] = True
    reads_prompt: ClassVar[bool] = False
    uses_noise: ClassVar[bool] = True
    keeps_masked: ClassVar[bool] = False
    needs_linear: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = False
    projects: ClassVar[bool] = False
    tells_next: ClassVar[bool] = False

    @property
    def title(self) -> str:
        """What a run is called by."""
        return type(self).__name__

    def check(self, problem: Problem, info: PriorInfo) -> None:
        """Refuse a problem that the solver cannot solve with such a prior; called before any weights are loaded.

        Raises:
            FieldError: the kind of problem, its operator, or the number of steps.
        """
        if not isinstance(problem, self.problems):
            able = " or ".join(kind.name for kind in self.problems)
            raise FieldError(
                "problem", type(problem).__name__, f"{type(self).__name__} solves {able}, not {problem.name}"
            )
        if isinstance(problem, InverseProblem):
            self.check_operator(problem.operator)
        elif problem.mask is not None and not self.keeps_masked:
            raise FieldError("problem", "EditProblem with a mask", f"{type(self).__name__} changes the whole signal")
        if self.steps:
            self.moves(info, problem.signal_shape)

    def check_policy(self, policy: TextPolicy) -> None:
        """Refuse rules of text that would do nothing with this solver; called before any weights are loaded.

        Raises:
            FieldError: ``prompt_rule``, or a field of the solver.
        """
        rule = policy.prompt_rule
        if self.uses_text and getattr(rule, "needs_next", False) and not self.tells_next:
            raise FieldError(
                "prompt_rule", type(rule).__name__, f"follows the latent of the next step, and {type(self).__name__} "
                "tells none, so nothing would move; take prompt_rule=fixed, or solver=treg, ldps, latino, ..."
            )  # fmt: skip
        if self.uses_text and getattr(rule, "needs_rounds", False) and not getattr(self, "rounds", 0):
            raise FieldError(
                "prompt_rule.moves", "round", f"moves at the end of a run, and {type(self).__name__} has no other "
                "then; take solver=latino_pro, or prompt_rule.moves=step"
            )  # fmt: skip

    def cautions(self, policy: TextPolicy) -> Sequence[str]:
        """What a user should know of a run with such rules of text, a line each; it stops nothing."""
        return ()

    def check_operator(self, operator: Operator) -> None:
        """Refuse an operator that lacks what the solver takes."""
        kind, own = type(operator).__name__, type(self).__name__
        if self.needs_linear and not operator.linear:
            raise FieldError(
                "operator", kind, f"{own} needs a linear operator, and this one has no adjoint and no pseudo-inverse; "
                "choose a linear task or a solver that needs neither"
            )  # fmt: skip
        if self.needs_gradient and not operator.differentiable:
            raise FieldError(
                "operator", kind, f"{own} needs the gradient of the data term, and this one has none as configured (a "
                "step function), see its fields; change them or choose a solver that needs none"
            )  # fmt: skip
        operator.check_prox(getattr(self, "prox", None))

    def moves(self, info: PriorInfo, signal_shape: tuple[int, ...]) -> list[Move]:
        """The steps that the solver takes downwards, checked."""
        return info.moves(self.steps, signal_shape)

    @abstractmethod
    def solve(
        self,
        problem: Any,
        text: TextCondition,
        prior: Prior,
        policy: TextPolicy,
        noise: Noise,
        on_step: OnStep = ignore,
    ) -> Restoration:
        """Solve a batch of B problems.

        Args:
            problem: one of ``problems``.
            text: embedded texts, see ``TextPolicy.start``.
            prior: the diffusion model.
            policy: what the text does at each step.
            noise: random streams, one per sample.
            on_step: called after each step.
        """


def check_steps(steps: int) -> None:
    """Raise FieldError unless there is at least one step."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise FieldError("steps", steps, "must be an integer >= 1")


def first_latent(move: Move, noise: Noise, like: Tensor) -> Tensor:
    """Pure noise at the level that a sampler begins with: standard normal numbers, scaled where the level says so.

    Variance-preserving schedules and flows begin with standard normal numbers although a little of the signal is left
    at their first level, as everywhere in the field; schedules in sigma alone begin with sigma times them.
    """
    z_t = noise.normal("start", like=like)
    sigma_alone = not isinstance(move.now.alpha, Tensor) and move.now.alpha == 1
    return z_t * move.now.sigma if sigma_alone else z_t
