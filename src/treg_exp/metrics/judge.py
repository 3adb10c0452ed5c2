"""How well an image fits a text, by an encoder that no guidance optimises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from treg_exp.metrics.alignment import Roles, TextAlignment
from treg_exp.metrics.base import MetricInput

if TYPE_CHECKING:
    from treg_exp.metrics.networks.judge import Judge

#: The judge was trained to tell things apart by their bare names. A caption adds words such as that of a style, which
#: pictures of both things share: on the 200 test pictures it prefers the own name to the counterfactual one in 88 %,
#: the own caption to the counterfactual one in 70 %.
ROLES: Mapping[str, Roles] = {
    "judge_own": ("name", "caption"),
    "judge_counterfactual": ("counterfactual_name", "counterfactual"),
}
LABELS = {"judge_own": "judge\nown", "judge_counterfactual": "judge\nother"}


class JudgeAlignment(TextAlignment):
    """Cosine to the names of things by the judge, which knows emoji only; None for images without the text.

    Args:
        roles: column -> role of the text; of several, the first in which an image has one. None compares
            ``judge_own`` with the ``name``, without one with the ``caption``, and ``judge_counterfactual`` with the
            ``counterfactual_name``, without one with the ``counterfactual``.
        folder: of the judge; None for the one that ships.
    """

    labels = LABELS
    optimised = False

    def __init__(self, roles: Mapping[str, Roles] | None = None, folder: str | Path | None = None) -> None:
        from treg_exp.metrics.networks.judge import load_judge

        super().__init__(ROLES if roles is None else roles)
        self.folder, self.judge = folder, load_judge(folder)

    def weight_files(self) -> Sequence[Path]:
        """See ``Measure``."""
        from treg_exp.metrics.networks.judge import judge_files

        return judge_files(self.folder)

    def caution(self, prior: str) -> str:
        """See ``Metric``."""
        from treg_exp.metrics.networks.judge import caution_of_judge

        return caution_of_judge(self.folder, prior)

    def encoder(self, inp: MetricInput) -> Judge:
        """The judge, on the device of the images."""
        return self.judge.to(inp.signal.device)
