"""How well an image fits a text, by an encoder that no guidance optimises."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from treg_exp.metrics.alignment import TextAlignment
from treg_exp.metrics.base import MetricInput

if TYPE_CHECKING:
    from treg_exp.metrics.networks.judge import Judge

ROLES = {"judge_own": "caption", "judge_counterfactual": "counterfactual"}
LABELS = {"judge_own": "judge\nown", "judge_counterfactual": "judge\nother"}


class JudgeAlignment(TextAlignment):
    """Cosine to the captions by the judge, which knows emoji only; None for images without the text.

    Args:
        roles: column -> role of the caption; None for ``judge_own`` and ``judge_counterfactual``.
        folder: of the judge; None for the one that ships.
    """

    labels = LABELS
    optimised = False

    def __init__(self, roles: Mapping[str, str] | None = None, folder: str | Path | None = None) -> None:
        from treg_exp.metrics.networks.judge import load_judge

        super().__init__(ROLES if roles is None else roles)
        self.judge: Judge = load_judge(folder)

    def encoder(self, inp: MetricInput) -> Judge:
        """The judge, on the device of the images."""
        return self.judge.to(inp.signal.device)
