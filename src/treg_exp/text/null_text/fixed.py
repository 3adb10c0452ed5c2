"""A null text that stays."""

from __future__ import annotations

from dataclasses import dataclass

from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.text.condition import TextCondition
from treg_exp.text.state import StepState


@dataclass(frozen=True)
class FixedNullText:
    """A null text that never changes: the empty one, or a negative prompt.

    Attributes:
        text: e.g. "out of focus, depth of field".
    """

    text: str = ""

    def check(self, info: PriorInfo) -> None:
        """Nothing is needed."""

    def update(self, prior: Prior, text: TextCondition, state: StepState) -> TextCondition:
        """The same condition."""
        return text
