"""What a metric sees and returns: one value per restoration, whatever batch it ran in, or one per set of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.metrics.column import Column
from treg_exp.metrics.independence import Guide
from treg_exp.priors.prior import Prior
from treg_exp.signals.media import MEDIA
from treg_exp.signals.ranges import check_range
from treg_exp.tasks.problems import EditProblem, InverseProblem, Problem

Values = dict[str, list[float | None]]  # column -> B values; None where the metric does not apply


@dataclass(frozen=True)
class MetricInput:
    """A batch of restorations and what they can be compared with.

    Attributes:
        signal: (B, *signal_shape) restored signals in [-1, 1], clamped as the saved files are.
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


class Measure(ABC):
    """What a configuration may name below ``metrics``: a `Metric`, or a ``SetMetric`` (``metrics/sets/base.py``).

    Attributes:
        columns: what it fills, by name, and how that is shown.
        media: what it can judge; None for anything.
        version: of its definition; whoever changes what it computes counts on.
        packages: whose versions may change its values.
    """

    columns: Mapping[str, Column]
    media: ClassVar[Collection[str] | None] = ("image",)
    version: ClassVar[str] = "1"
    packages: ClassVar[Collection[str]] = ()

    def weight_files(self) -> Sequence[Path]:
        """Files of the networks that it asks, for the hashes that are kept with its values."""
        return ()

    def caution(self, prior: str) -> str:
        """What to know before its numbers for the pictures of a prior of this name are believed, or nothing."""
        return ""

    def check_guides(self, guides: Sequence[Guide]) -> str:
        """Refuse to judge what its own network guides; see ``independence.py``.

        Args:
            guides: the networks of the run that know what pictures and texts have in common.

        Returns:
            What to know of it, or nothing.

        Raises:
            FieldError: it would judge its own work.
        """
        return ""


class Metric(Measure):
    """A function of a batch of restorations. A new one says which columns it fills, and what it can judge.

    Attributes:
        problems: kinds of problems whose solutions it can judge; others get None.
        stacked: whether it can judge signals of several sources; if not, those get None.
    """

    problems: ClassVar[tuple[type, ...]] = (InverseProblem, EditProblem)
    stacked: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, inp: MetricInput) -> Values:
        """One value per restoration for every column; None where there is none, as without a target."""

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


class TargetMetric(Metric):
    """A metric of signal and target alone; so it can judge the mean of several draws, too. None without a target."""

    @abstractmethod
    def compare(self, signal: Tensor, target: Tensor) -> Tensor | None:
        """(B, *signal_shape) in [-1, 1], twice -> (B,), or None for a size that it cannot judge.

        Raises:
            FieldError: values outside of [-1, 1].
        """

    def __call__(self, inp: MetricInput) -> Values:
        """See ``Metric``."""
        (name,) = self.columns
        values = None if inp.target is None else self.compare(inp.signal, inp.target)
        return {name: per_sample(values, len(inp.signal))}


def check_metrics(metrics: Mapping[str, Measure], medium: str, taken: Collection[str] = ()) -> None:
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


def cautions(metrics: Mapping[str, Measure], prior: str) -> list[str]:
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


def columns_of(metrics: Mapping[str, Measure]) -> dict[str, Column]:
    """The columns of all metrics; those that guidance optimises come last, as they are no evidence."""
    found = {name: column for metric in metrics.values() for name, column in metric.columns.items()}
    return dict(sorted(found.items(), key=lambda entry: entry[1].optimised))


def evaluate(metrics: Mapping[str, Metric], inp: MetricInput) -> list[dict[str, float | None]]:
    """All metrics of a batch as rows, one mapping of columns to values per restoration.

    Raises:
        FieldError: signals or targets outside of [-1, 1].
        ValueError: (and whatever a metric raises) a metric has more or fewer values than there are restorations.
    """
    check_range(inp.signal, "signal")
    if inp.target is not None:
        check_range(inp.target, "target")
    count = len(inp.signal)
    columns: Values = {}
    for metric in metrics.values():
        columns |= metric(inp) if metric.judges(inp) else {name: [None] * count for name in metric.columns}
    if wrong := [name for name, values in columns.items() if len(values) != count]:
        raise ValueError(f"{wrong[0]}: {len(columns[wrong[0]])} values for {count} restorations")
    return [{name: _number(values[i]) for name, values in columns.items()} for i in range(count)]


def per_sample(values: Tensor | None, count: int) -> list[float | None]:
    """(B,) -> B floats, or ``count`` times None where there are no values."""
    return [None] * count if values is None else [float(value) for value in values.cpu()]


def _number(value: Any) -> float | None:
    """As JSON knows it: a metric may give numbers of numpy or torch."""
    return value if value is None or isinstance(value, int | float) else float(value)
