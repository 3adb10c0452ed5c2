"""What a metric sees and returns: one value per restoration, whatever batch it ran in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.prior import Prior
from treg_exp.tasks.problems import Problem

Values = dict[str, list[float | None]]  # column -> B values; None where the metric does not apply


@dataclass(frozen=True)
class MetricInput:
    """A batch of restorations and what they can be compared with.

    Attributes:
        signal: (B, *signal_shape) restored signals; metrics clamp them to [-1, 1], as the saved files are.
        target: (B, *signal_shape) in [-1, 1], or None where it is not known.
        problem: what was solved: y, the operator that made it and the noise level, or the source of an edit.
        prior: its image-text encoder is what text alignment uses, if it has one.
        texts: of the data by role, one mapping per restoration.
        medium: ``image`` or ``audio``.
    """

    signal: Tensor
    target: Tensor | None
    problem: Problem
    prior: Prior
    texts: Sequence[Mapping[str, str]]
    medium: str = "image"

    def __post_init__(self) -> None:
        if self.target is not None and self.target.shape != self.signal.shape:
            raise FieldError(
                "target", tuple(self.target.shape), f"restored signals have the shape {tuple(self.signal.shape)}"
            )
        if len(self.texts) != len(self.signal):
            raise FieldError(
                "texts", len(self.texts), f"must be one mapping for each of the {len(self.signal)} signals"
            )


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


def check_columns(metrics: Mapping[str, Metric]) -> None:
    """Raise FieldError where two metrics fill the same column."""
    owners: dict[str, str] = {}
    for key, metric in metrics.items():
        for column in metric.names:
            if column in owners:
                taken = f"fills the column {column}, which {owners[column]} fills already"
                raise FieldError(key, type(metric).__name__, taken)
            owners[column] = key


def evaluate(metrics: Mapping[str, Metric], inp: MetricInput) -> list[dict[str, float | None]]:
    """All metrics of a batch as rows, one mapping of columns to values per restoration.

    Raises:
        FieldError: two metrics fill the same column.
    """
    check_columns(metrics)
    columns: Values = {}
    for metric in metrics.values():
        columns.update(metric(inp))
    return [{name: values[i] for name, values in columns.items()} for i in range(len(inp.signal))]
