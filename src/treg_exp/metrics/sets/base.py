"""What a metric of sets sees and returns: features of all restorations and of their targets, one value."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.metrics.base import Measure
from treg_exp.metrics.sets.features import FeatureExtractor, JudgeFeatures

SMALLEST = 2  # images: one has no covariance and no pair


@dataclass(frozen=True)
class SetValue:
    """The distance of two sets.

    Attributes:
        value: the estimate.
        standard_error: of the estimate over images; None where the metric does not know it.
        more: further numbers, for ``summary.json``.
    """

    value: float
    standard_error: float | None = None
    more: Mapping[str, float | int] = field(default_factory=dict)


class SetMetric(Measure):
    """A distance between the features of restorations and those of their targets, computed when a run ends.

    Args:
        extractor: what the features come from; None for the judge that ships, which knows emoji.
    """

    def __init__(self, extractor: FeatureExtractor | None = None) -> None:
        self.extractor = JudgeFeatures() if extractor is None else extractor

    @abstractmethod
    def distance(self, restored: Tensor, targets: Tensor) -> SetValue:
        """Of two sets of features; that of image i of one belongs to image i of the other.

        Args:
            restored: (n, F) float64.
            targets: (n, F) float64.
        """

    @abstractmethod
    def settings(self) -> Mapping[str, object]:
        """What the value depends on besides the features."""

    def note(self, count: int) -> str:
        """What to know of a value of so few images, or nothing."""
        return ""

    def __call__(self, restored: Tensor, targets: Tensor) -> SetValue:
        """See `distance`.

        Raises:
            FieldError: features that are not finite, of other shapes, or of fewer than two images.
        """
        if restored.shape != targets.shape or restored.ndim != 2 or len(restored) < SMALLEST:
            shapes = f"{tuple(restored.shape)} and {tuple(targets.shape)}"
            raise FieldError("features", shapes, f"must be two tables of one shape, of {SMALLEST} images or more")
        for name, features in (("restored", restored), ("targets", targets)):
            if not features.isfinite().all():
                raise FieldError(name, "not finite", "features must be finite numbers")
        return self.distance(restored.double(), targets.double())

    def weight_files(self) -> Sequence[Path]:
        """See ``Measure``."""
        return self.extractor.weight_files()

    def caution(self, prior: str) -> str:
        """See ``Measure``."""
        return self.extractor.caution(prior)


def centred(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (F,), and deviations from it (n, F)."""
    mean = features.mean(dim=0)
    return mean, features - mean


def triangle(deviations: Tensor) -> Tensor:
    """R of (n, F) = Q R, (min(n, F), F): it has the covariance of the deviations and at most F rows."""
    return torch.linalg.qr(deviations, mode="r").R if len(deviations) > deviations.shape[1] else deviations
