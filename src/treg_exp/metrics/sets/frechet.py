"""FID: the Fréchet distance of two sets of features, as if both were Gaussian (Heusel et al., arXiv 1706.08500)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from treg_exp.metrics.column import Column
from treg_exp.metrics.sets.base import SetMetric, SetValue, centred, triangle
from treg_exp.metrics.sets.features import FeatureExtractor

ENOUGH = 2048  # images: with fewer than the 2048 features of Inception, its covariance has no full rank


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """|m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of two sets, with n - 1 in the covariances.

    With S = X^T X / (n - 1), the trace of the root is the sum of the singular values of X1 X2^T over the two (n - 1):
    no root of a matrix, and no trouble with covariances of low rank.

    Args:
        one: (n, F) float64.
        other: (m, F) float64.
    """
    (m1, x1), (m2, x2) = centred(one), centred(other)
    n1, n2 = len(one) - 1, len(other) - 1
    shared = torch.linalg.svdvals(triangle(x1) @ triangle(x2).T).sum() / (n1 * n2) ** 0.5
    distance = (m1 - m2).square().sum() + x1.square().sum() / n1 + x2.square().sum() / n2 - 2 * shared
    return max(float(distance), 0.0)


class FID(SetMetric):
    """See :func:`frechet_distance`. It is biased, the more the fewer images: compare values of the same images only.

    Args:
        extractor: see ``SetMetric``. With others than Inception's it is no published FID; the heading says which.
    """

    def __init__(self, extractor: FeatureExtractor | None = None) -> None:
        super().__init__(extractor)
        self.columns: Mapping[str, Column] = {
            "fid": Column(f"FID\n{self.extractor.name.split(',')[0]}", digits=2, higher_is_better=False, of="set")
        }

    def distance(self, restored: Tensor, targets: Tensor) -> SetValue:
        """See ``SetMetric``."""
        return SetValue(frechet_distance(restored, targets))

    def settings(self) -> Mapping[str, object]:
        """See ``SetMetric``."""
        return {"covariance": "n - 1"}

    def note(self, count: int) -> str:
        """See ``SetMetric``."""
        if count >= ENOUGH:
            return ""
        rank = f"; the covariance of {self.extractor.width} features has rank {count - 1} at most"
        return (
            f"FID: {count} images are fewer than {ENOUGH:,}{rank if count <= self.extractor.width else ''}. "
            "Its bias is large: compare runs of the same images only; KID has none."
        )
