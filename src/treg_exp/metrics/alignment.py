"""How well an image fits a text, by the prior's own image-text encoder.

Text guidance that uses this encoder raises these numbers directly. They say that the guidance worked, not
that an independent observer would agree; reports mark them as *optimised for*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from treg_exp.errors import FieldError
from treg_exp.metrics.base import Metric, MetricInput, Values, per_sample
from treg_exp.metrics.column import Column

if TYPE_CHECKING:
    from treg_exp.priors.prior import ImageText

Roles = str | Sequence[str]  # one role, or several in order of preference
ROLES: Mapping[str, Roles] = {"align_own": "caption", "align_counterfactual": "counterfactual"}
#: Roles of texts about what the picture shows: nearer to them is better. Nearer to another text is better or worse as
#: it was given or not, so such a column has no direction.
SHOWN = frozenset({"caption", "name"})
LABELS = {"align_own": "align\nown", "align_counterfactual": "align\nother"}


class TextAlignment(Metric):
    """Cosine to the captions; None for images without the text and for priors without an encoder.

    Args:
        roles: column -> role of the text; of several, the first in which an image has one. None for ``align_own``
            (``caption``) and ``align_counterfactual`` (``counterfactual``).

    Raises:
        FieldError: a role is no text.
    """

    labels: Mapping[str, str] = LABELS
    optimised = True

    def __init__(self, roles: Mapping[str, Roles] | None = None) -> None:
        given = ROLES if roles is None else roles
        for name, role in given.items():
            named = [role] if isinstance(role, str) else list(role) if isinstance(role, Sequence) else []
            if not named or not all(isinstance(each, str) for each in named):
                raise FieldError(f"roles.{name}", role, "must be a role of the data, or a list of roles")
        self.roles = {name: (role,) if isinstance(role, str) else tuple(role) for name, role in given.items()}
        self.columns = {
            name: Column(
                self.labels.get(name, name.replace("_", " ")),
                higher_is_better=True if SHOWN.issuperset(roles) else None,
                optimised=self.optimised,
            )
            for name, roles in self.roles.items()
        }

    def __call__(self, inp: MetricInput) -> Values:
        """See :class:`~treg_exp.metrics.base.Metric`."""
        encoder = self.encoder(inp)
        compared = {name: [_first(texts, roles) for texts in inp.texts] for name, roles in self.roles.items()}
        if encoder is None or not any(any(texts) for texts in compared.values()):
            return {name: [None] * len(inp.signal) for name in self.roles}
        with torch.no_grad():
            features = encoder.image_features(inp.signal).double()
        return {name: _cosines(features, texts, encoder) for name, texts in compared.items()}

    def text_scores(self, inp: MetricInput, texts: Sequence[str]) -> list[float | None] | None:
        """See :class:`~treg_exp.metrics.base.Metric`."""
        encoder = self.encoder(inp)
        if encoder is None:
            return None
        return _cosines(encoder.image_features(inp.signal.clamp(-1, 1)).double(), texts, encoder)

    def encoder(self, inp: MetricInput) -> ImageText | None:
        """Whose features are compared; None where there are none."""
        return inp.prior.image_text


def _first(texts: Mapping[str, str], roles: Sequence[str]) -> str:
    """The text in the first of the roles that has one, or nothing."""
    return next((texts[role] for role in roles if texts.get(role)), "")


def _cosines(features: Tensor, texts: Sequence[str], encoder: ImageText) -> list[float | None]:
    """Between the (B, F) features of each image and those of its text, in [-1, 1]; None where it has no text."""
    column: list[float | None] = [None] * len(features)
    rows = [i for i, text in enumerate(texts) if text]
    if rows:
        embedded = encoder.text_features([texts[i] for i in rows]).to(features)
        values = per_sample(cosine_similarity(features[rows], embedded, dim=1), len(rows))
        for i, value in zip(rows, values, strict=True):
            column[i] = value
    return column
