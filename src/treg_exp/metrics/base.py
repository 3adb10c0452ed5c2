"""What a metric sees and returns: one value per restoration, whatever batch it ran in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.metrics.column import Column
from treg_exp.priors.prior import Prior
from treg_exp.signals.media import MEDIA
from treg_exp.tasks.problems import EditProblem, InverseProblem, Problem

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
        extras: what else the solver returned, by name, see ``Restoration``.
        variant: the setting of the text that all of them were restored with.
    """

    signal: Tensor
    target: Tensor | None
    problem: Problem
    prior: Prior
    texts: Sequence[Mapping[str, str]]
    medium: str = "image"
    extras: Mapping[str, Any] = field(default_factory=dict)
    variant: str = ""

    def __post_init__(self) -> None:
        if self.target is not None and self.target.shape != self.signal.shape:
            raise FieldError(
                "target", tuple(self.target.shape), f"restored signals have the shape {tuple(self.signal.shape)}"
            )
        if len(self.texts) != len(self.signal):
            raise FieldError(
                "texts", len(self.texts), f"must be one mapping for each of the {len(self.signal)} signals"
            )

    def alone(self, i: int) -> MetricInput:
        """One restoration, as a batch of one."""
        one = slice(i, i + 1)
        target = None if self.target is None else self.target[one]
        extras = {name: value if value is None else value[one] for name, value in self.extras.items()}
        problem = self.problem.alone(i)
        return replace(
            self, signal=self.signal[one], target=target, problem=problem, texts=self.texts[one], extras=extras
        )

    @property
    def stacked(self) -> bool:
        """Whether a signal consists of several sources, (B, K, ...)."""
        return MEDIA[self.medium].stacked(self.signal.shape[1:])


class Metric(ABC):
    """A function of a batch of restorations. A new one says which columns it fills, and what it can judge.

    Attributes:
        columns: what it fills, by name, and how that is shown.
        media: what it can judge; None for anything.
        problems: kinds of problems whose solutions it can judge; others get None.
        stacked: whether it can judge signals of several sources; if not, those get None.
    """

    columns: Mapping[str, Column]
    media: ClassVar[Collection[str] | None] = ("image",)
    problems: ClassVar[tuple[type, ...]] = (InverseProblem, EditProblem)
    stacked: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, inp: MetricInput) -> Values:
        """One value per restoration for every column; None where there is none, as without a target."""

    def caution(self, prior: str) -> str:
        """What to know before its numbers for the pictures of a prior of this name are believed, or nothing."""
        return ""

    def text_scores(self, inp: MetricInput, texts: Sequence[str]) -> list[float | None] | None:
        """How well each restoration fits a text of the caller's, such as its prompt.

        Args:
            inp: restorations that the metric judges.
            texts: one for each of them.

        Returns:
            A number for each, None for an empty text; or None: the metric compares with no texts.
        """
        return None

    def judges(self, inp: MetricInput) -> bool:
        """Whether the metric applies to such restorations."""
        return (
            (self.media is None or inp.medium in self.media)
            and isinstance(inp.problem, self.problems)
            and (self.stacked or not inp.stacked)
        )


def check_metrics(metrics: Mapping[str, Metric], medium: str, taken: Collection[str] = ()) -> None:
    """Refuse metrics that cannot judge a medium, and two that fill one column.

    Args:
        metrics: by name.
        medium: of the prior's signals.
        taken: columns that are filled by others.

    Raises:
        FieldError: the field is the name of the metric.
    """
    filled = dict.fromkeys(taken, "the run itself")
    for name, metric in metrics.items():
        if metric.media is not None and medium not in metric.media:
            judged = " and ".join(metric.media)
            kind = type(metric).__name__
            raise FieldError(name, kind, f"judges {judged}, and the prior makes {medium}; choose others")
        for column in metric.columns:
            if column in filled:
                kind, other = type(metric).__name__, filled[column]
                raise FieldError(name, kind, f"fills the column {column}, which {other} fills already")
            filled[column] = name


def cautions(metrics: Mapping[str, Metric], prior: str) -> list[str]:
    """What the metrics have to say of a prior, each sentence once, with the names of those that say it."""
    said: dict[str, list[str]] = {}
    for name, metric in metrics.items():
        if text := metric.caution(prior):
            said.setdefault(text, []).append(f"metrics.{name}")
    return [f"{', '.join(names)}: {text}" for text, names in said.items()]


def prompt_scores(
    metrics: Mapping[str, Metric], inp: MetricInput, texts: Sequence[str]
) -> tuple[str | None, list[float | None]]:
    """How well each restoration fits its text, by the first metric that can tell; one that guidance optimises is last.

    Args:
        metrics: by name.
        inp: the restorations.
        texts: one for each.

    Returns:
        The name of the metric, and its scores; without such a metric None, and nothing but None.
    """
    ordered = sorted(metrics.items(), key=lambda entry: any(c.optimised for c in entry[1].columns.values()))
    for name, metric in ordered:
        if metric.judges(inp) and (scores := metric.text_scores(inp, texts)) is not None:
            return name, scores
    return None, [None] * len(texts)


def columns_of(metrics: Mapping[str, Metric]) -> dict[str, Column]:
    """The columns of all metrics; those that guidance optimises come last, as they are no evidence."""
    found = {name: column for metric in metrics.values() for name, column in metric.columns.items()}
    return dict(sorted(found.items(), key=lambda entry: entry[1].optimised))


def evaluate(metrics: Mapping[str, Metric], inp: MetricInput) -> list[dict[str, float | None]]:
    """All metrics of a batch as rows, one mapping of columns to values per restoration.

    Raises:
        ValueError: (and whatever a metric raises) a metric has more or fewer values than there are restorations.
    """
    count = len(inp.signal)
    columns: Values = {}
    for metric in metrics.values():
        columns |= metric(inp) if metric.judges(inp) else {name: [None] * count for name in metric.columns}
    if wrong := [name for name, values in columns.items() if len(values) != count]:
        raise ValueError(f"{wrong[0]}: {len(columns[wrong[0]])} values for {count} restorations")
    return [{name: _number(values[i]) for name, values in columns.items()} for i in range(count)]


def _number(value: Any) -> float | None:
    """As JSON knows it: a metric may give numbers of numpy or torch."""
    return value if value is None or isinstance(value, int | float) else float(value)
