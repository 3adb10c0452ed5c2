"""The contract of null-text rules: what guidance pushes away from, and how it follows the signal that is forming."""

from __future__ import annotations

from typing import Protocol

from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.text.condition import TextCondition
from treg_exp.text.state import StepState


class NullText(Protocol):
    """A null text and its update."""

    @property
    def text(self) -> str:
        """The null text at the start."""
        ...

    def check(self, info: PriorInfo) -> None:
        """Raise FieldError where the prior lacks what the rule needs."""
        ...

    def update(self, prior: Prior, text: TextCondition, state: StepState) -> TextCondition:
        """The condition of the next step, after a step that looked at the measurement."""
        ...
