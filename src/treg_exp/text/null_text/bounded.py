"""Adaptive negation that stays near where it began, with a rate that follows the schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from treg_exp.field_checks import check_choices, check_positive
from treg_exp.priors.prior import PairedTowers
from treg_exp.schedule.levels import Level, Number
from treg_exp.text.null_text.negation import AdaptiveNegation
from treg_exp.text.state import StepState

Follows = Literal["nothing", "signal", "noise"]


@dataclass(frozen=True)
class BoundedNegation(AdaptiveNegation):
    """Adaptive negation within a ball around the null text at the start.

    The released loss is linear and has no minimum: without a bound the null text moves as far as the rate and the
    number of data steps take it.

    Attributes:
        radius: largest distance of a token from where it began, as a fraction of its norm there.
        follows: what the move of a data step is multiplied with: ``nothing``, the share of the ``signal`` in z_t
            (negation late, when the image can be seen), or that of the ``noise`` (negation early).
    """

    radius: float = 0.1
    follows: Follows = "nothing"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "radius")
        check_choices(self, follows=Follows)

    def moved(self, encoder: PairedTowers, tokens: Tensor, feature: Tensor, first: Tensor, state: StepState) -> Tensor:
        """See ``ImageSpaceNegation``."""
        move = self.weight(state.level) * (super().moved(encoder, tokens, feature, first, state) - tokens)
        return in_ball(tokens + move, first, self.radius)

    def weight(self, level: Level) -> Number:
        """What a move is multiplied with."""
        if self.follows == "nothing":
            return 1.0
        share = level.signal_share
        if isinstance(share, Tensor):
            share = share.view(-1, 1, 1)  # (B, 1, 1, 1), beside tokens (B, L, F)
        return share if self.follows == "signal" else 1 - share


def in_ball(tokens: Tensor, first: Tensor, radius: float) -> Tensor:
    """The nearest tokens within ``radius`` of ``first``, relative to its norm; each token has its own ball."""
    away = tokens - first
    length = away.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(away.dtype).tiny)
    shortened: Tensor = away * (radius * first.norm(dim=-1, keepdim=True) / length).clamp(max=1.0)
    return first + shortened
