"""How well an image fits a text, by the prior's own image-text encoder.

Text guidance that uses this encoder raises these numbers directly. They say that the guidance worked, not
that an independent observer would agree; reports mark them as *optimised for*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import cosine_similarity

from treg_exp.metrics.base import MetricInput, Values
from treg_exp.metrics.fidelity import per_sample

if TYPE_CHECKING:
    from treg_exp.priors.base import ImageTextEncoder

ROLES = {"align_own": "caption", "align_counterfactual": "counterfactual"}


def text_alignment(image: Tensor, texts: Sequence[str], clip: ImageTextEncoder) -> Tensor:
    """Cosine between the features of each image and of its text, (B,) in [-1, 1].

    Args:
        image: (B, 3, H, W) in [-1, 1]; clamped.
        texts: one per image.
        clip: encoder with (B, F) image and text features.
    """
    features = clip.image_features(image.clamp(-1, 1))
    return cosine_similarity(features.double(), clip.text_features(texts).to(features).double(), dim=1)


class TextAlignment:
    """Cosine to the captions; None for images without the text and for priors without an encoder.

    Args:
        roles: column -> role of the caption; None for ``align_own`` and ``align_counterfactual``.
    """

    higher_is_better = True

    def __init__(self, roles: Mapping[str, str] | None = None) -> None:
        self.roles = dict(ROLES if roles is None else roles)
        self.names = tuple(self.roles)

    def __call__(self, inp: MetricInput) -> Values:
        """See :class:`~treg_exp.metrics.base.Metric`."""
        return {name: self._column(inp, role) for name, role in self.roles.items()}

    def encoder(self, inp: MetricInput) -> ImageTextEncoder | None:
        """Whose features are compared; None where there are none."""
        return inp.prior.clip

    def _column(self, inp: MetricInput, role: str) -> list[float | None]:
        column: list[float | None] = [None] * len(inp.image)
        rows = [i for i, texts in enumerate(inp.captions) if texts.get(role)]
        encoder = self.encoder(inp)
        if encoder is None or not rows:
            return column
        texts = [inp.captions[i][role] for i in rows]
        values = per_sample(text_alignment(inp.image[rows], texts, encoder), len(rows))
        for i, value in zip(rows, values, strict=True):
            column[i] = value
        return column
