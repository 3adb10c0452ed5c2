"""How well an image fits a text, by the prior's own image-text encoder.

Text guidance that uses this encoder raises these numbers directly. They say that the guidance worked, not
that an independent observer would agree; reports mark them as *optimised for*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import cosine_similarity

from treg_exp.metrics.base import Metric, MetricInput, Values
from treg_exp.metrics.column import Column
from treg_exp.metrics.fidelity import per_sample

if TYPE_CHECKING:
    from treg_exp.priors.prior import ImageText

ROLES = {"align_own": "caption", "align_counterfactual": "counterfactual"}
LABELS = {"align_own": "align\nown", "align_counterfactual": "align\nother"}


class TextAlignment(Metric):
    """Cosine to the captions; None for images without the text and for priors without an encoder.

    Args:
        roles: column -> role of the caption; None for ``align_own`` and ``align_counterfactual``.
    """

    labels: Mapping[str, str] = LABELS
    optimised = True

    def __init__(self, roles: Mapping[str, str] | None = None) -> None:
        self.roles = dict(ROLES if roles is None else roles)
        self.columns = {
            name: Column(self.labels.get(name, name.replace("_", " ")), higher_is_better=True, optimised=self.optimised)
            for name in self.roles
        }

    def __call__(self, inp: MetricInput) -> Values:
        """See :class:`~treg_exp.metrics.base.Metric`. Images are clamped to [-1, 1]."""
        encoder = self.encoder(inp)
        wanted = any(texts.get(role) for texts in inp.texts for role in self.roles.values())
        if encoder is None or not wanted:
            return {name: [None] * len(inp.signal) for name in self.roles}
        features = encoder.image_features(inp.signal.clamp(-1, 1)).double()
        return {name: _cosines(features, inp.texts, role, encoder) for name, role in self.roles.items()}

    def encoder(self, inp: MetricInput) -> ImageText | None:
        """Whose features are compared; None where there are none."""
        return inp.prior.image_text


def _cosines(
    features: Tensor, captions: Sequence[Mapping[str, str]], role: str, encoder: ImageText
) -> list[float | None]:
    """Between the (B, F) features of each image and those of its text, in [-1, 1]; None where it has no such text."""
    column: list[float | None] = [None] * len(features)
    rows = [i for i, texts in enumerate(captions) if texts.get(role)]
    if rows:
        text = encoder.text_features([captions[i][role] for i in rows]).to(features)
        values = per_sample(cosine_similarity(features[rows], text, dim=1), len(rows))
        for i, value in zip(rows, values, strict=True):
            column[i] = value
    return column
