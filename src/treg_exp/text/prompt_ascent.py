"""LATINO-PRO's prompt: an embedding that is moved until the steps of the sampler become likely."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.field_checks import check_at_least, check_choices, check_shares
from treg_exp.numerics.leaf import leaf_gradient, squares
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.text.condition import TextCondition
from treg_exp.text.state import StepState

Moves = Literal["step", "round"]
Ball = Literal["prompt", "token"]


@dataclass(frozen=True)
class PromptAscent:
    """Prompt optimisation of LATINO-PRO (Spagnoletti et al., ICCV 2025, 2503.12615).

    After each step, the tokens C of the prompt climb log p(z_next | z_0(z_t, C)) = -||z_next - alpha z_0||^2 /
    (2 sigma^2) with alpha and sigma of the level of z_next: every token moves by ``step``, along its gradient, and the
    prompt stays in a ball around its start. Nothing is learnt from the step to the clean end. Needs a solver that tells
    z_next, which ``Solver.check_policy`` sees to. What differs from the released code is listed in docs/solvers.md.

    Attributes:
        step: length of a token's move, in units of the embedding (released: 0.08).
        decay: factor of it per turn of the solver after turn ``hold`` (released: 0.9).
        hold: last turn, from 0, at full length (released: the factor is decay^(turn - 10), see docs/solvers.md).
        floor: least factor (released: 0.001).
        radius: of the ball around the prompt's embedding (released: 15).
        ball: what has to stay in it: the ``prompt``, all tokens together, or each ``token`` (released).
        fixed: number of first tokens that stay (released: 4).
        moves: after each ``step``, or once a ``round`` along the gradient of the likelihood of all of its steps, as
            stochastic approximation has it: only for solvers with rounds. The sum is normalised, not its parts (our
            choice).
    """

    step: float = 0.08
    decay: float = 0.9
    hold: int = 10
    floor: float = 0.001
    radius: float = 15.0
    ball: Ball = "prompt"
    fixed: int = 4
    moves: Moves = "step"
    needs_next: ClassVar[bool] = True

    @property
    def needs_rounds(self) -> bool:
        """Whether it moves at the end of a run, which has to be followed by another."""
        return self.moves == "round"

    def __post_init__(self) -> None:
        check_choices(self, moves=Moves, ball=Ball)
        check_at_least(self, 0, "step", "radius", "hold", "fixed")
        check_shares(self, "decay", "floor")

    def check(self, info: PriorInfo) -> None:
        """There must be an embedding to move."""
        if info.text_layout is None:
            raise FieldError("step", self.step, "the prior has no text encoder; only the empty text works")

    def update(self, prior: Prior, text: TextCondition, state: StepState) -> TextCondition:
        """See ``TextPolicy.update``."""
        slope = self.gradient(prior, text, state)
        if self.moves == "step":
            return text if slope is None else self.moved(text, slope, state.turn)
        gathered = text.prompt_slope
        if slope is not None:
            return replace(text, prompt_slope=slope if gathered is None else gathered + slope)
        return text if gathered is None else self.moved(replace(text, prompt_slope=None), gathered, state.turn)

    def gradient(self, prior: Prior, text: TextCondition, state: StepState) -> Tensor | None:
        """Of -log p(z_next) in the tokens, (B, L, width); None at the clean end."""
        z_next, level = state.z_next, state.next
        if z_next is None or level is None or not float(level.sigma) > 0:
            return None

        def distance(tokens: Tensor) -> tuple[Tensor, None]:
            at = prior.predict(state.z_t, state.level, text.prompt.with_tokens(tokens))
            return squares(z_next - level.alpha * at.z_0) / (2 * level.sigma**2), None

        gradient, _, _ = leaf_gradient(distance, text.prompt.tokens)
        return gradient

    def moved(self, text: TextCondition, gradient: Tensor, turn: int) -> TextCondition:
        """The prompt after one move down a gradient, in its ball."""
        length = gradient.norm(dim=-1, keepdim=True)
        move = torch.where(length > 0, gradient / length.clamp(min=1e-30), 0.0)
        move[:, : self.fixed] = 0
        rate = self.step * max(self.decay ** max(0, turn - self.hold), self.floor)
        first = text.first_prompt.tokens
        way = text.prompt.tokens - rate * move - first
        reach = way.norm(dim=-1, keepdim=True) if self.ball == "token" else way.flatten(1).norm(dim=1).view(-1, 1, 1)
        way = way * (self.radius / reach.clamp(min=1e-30)).clamp(max=1.0)
        return text.with_prompt(text.prompt.with_tokens(first + way))
