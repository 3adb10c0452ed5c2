"""Prompt rules: whether the prompt's embedding changes while a signal is restored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
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


@dataclass(frozen=True)
class FixedPromptRule:
    """The prompt stays what it was."""

    def check(self, info: PriorInfo) -> None:
        """Nothing is needed."""

    def update(self, prior: Prior, text: TextCondition, state: StepState) -> TextCondition:
        """The same condition."""
        return text
