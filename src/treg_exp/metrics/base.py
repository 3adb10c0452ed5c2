"""What a metric sees and returns: one value per restoration, whatever batch it ran in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from treg_exp.errors import ConfigError
from treg_exp.tasks.problems import Measurement

if TYPE_CHECKING:
    from treg_exp.priors.base import Prior

Values = dict[str, list[float | None]]  # column -> B values; None where the metric does not apply


@dataclass(frozen=True)
class MetricInput:
    """A batch of restorations and what they can be compared with.

    Attributes:
        image: (B, 3, H, W) restored images; metrics clamp them to [-1, 1], as the saved files are.
        target: (B, 3, H, W) in [-1, 1], or None for real measurements.
        measurement: y, the operator that made it, and the noise level.
        prior: its ``clip`` encoder is what text alignment uses, if it has one.
        captions: texts by role, one mapping per restoration.
    """

    image: Tensor
    target: Tensor | None
    measurement: Measurement
    prior: Prior
    captions: Sequence[Mapping[str, str]]

    def __post_init__(self) -> None:
        if self.target is not None and self.target.shape != self.image.shape:
            shapes = f"{tuple(self.image.shape)} and {tuple(self.target.shape)}"
            raise ValueError(f"restored images and targets differ in shape: {shapes}")
        if len(self.captions) != len(self.image):
            raise ValueError(f"{len(self.captions)} captions for {len(self.image)} images")


class Metric(Protocol):
    """A function of a batch of restorations.

    Attributes:
        names: columns that it fills.
        higher_is_better: direction of improvement, the same for all its columns.
    """

    @property
    def names(self) -> Sequence[str]:
        """Columns that it fills."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """Direction of improvement, the same for all its columns."""
        ...

    def __call__(self, inp: MetricInput) -> Values:
        """One value per restoration for every name; None where the metric does not apply."""
        ...


def evaluate(metrics: Mapping[str, Metric], inp: MetricInput) -> list[dict[str, float | None]]:
    """All metrics of a batch as rows, one mapping of columns to values per restoration.

    Raises:
        ConfigError: two metrics fill the same column.
    """
    columns: Values = {}
    for key, metric in metrics.items():
        values = metric(inp)
        if taken := sorted(set(values) & set(columns)):
            raise ConfigError(f"metrics.{key} fills a column that another metric has filled: {', '.join(taken)}")
        columns.update(values)
    return [{name: values[i] for name, values in columns.items()} for i in range(len(inp.image))]
