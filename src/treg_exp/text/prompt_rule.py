"""Prompt rules: whether the prompt's embedding changes while a signal is restored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.schedule.levels import Level
from treg_exp.text.condition import TextCondition
from treg_exp.text.state import StepState


class PromptRule(Protocol):
    """How the prompt follows the signal that is forming."""

    def check(self, info: PriorInfo) -> None:
        """Raise FieldError where the prior lacks what the rule needs."""
        ...

    def update(self, prior: Prior, text: TextCondition, state: StepState) -> TextCondition:
        """The condition of the next step."""
        ...


@runtime_checkable
class PreparingPromptRule(PromptRule, Protocol):
    """One that also looks at the measurement before a step is predicted."""

    def prepare(
        self, prior: Prior, z_t: Tensor, level: Level, text: TextCondition, misfit: Callable[[Tensor], Tensor]
    ) -> TextCondition:
        """See ``TextPolicy.prepare``."""
        ...


@dataclass(frozen=True)
class FixedPromptRule:
    """The prompt stays what it was."""

    def check(self, info: PriorInfo) -> None:
        """Nothing is needed."""

    def update(self, prior: Prior, text: TextCondition, state: StepState) -> TextCondition:
        """The same condition."""
        return text
