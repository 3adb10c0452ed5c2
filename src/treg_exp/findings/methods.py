"""What a report compares: a method is a setting of a run and of its text, with all seeds that it was tried with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from treg_exp.findings.collection import Run
from treg_exp.findings.naming import names, repetitions
from treg_exp.findings.resampling import Repeated, statistics
from treg_exp.metrics.column import Columns
from treg_exp.reports.columns import variant_label
from treg_exp.run_layout import IDENTITY, Row

TOGETHER = -1  # in place of a draw: the number is of all of them
MEASUREMENT = "measurement"  # column of a row: hash of the measurement


@dataclass(frozen=True, eq=False)
class Method:
    """Rows that belong together.

    Attributes:
        name: what it is called.
        task: what was measured.
        variant: setting of the text.
        text: what that is called.
        runs: one per seed.
    """

    name: str
    task: str
    variant: str
    text: str
    runs: Sequence[Run]
    _numbers: dict[str, Repeated] = field(default_factory=dict, repr=False)
    _statistics: dict[str, dict[str, Any] | None] = field(default_factory=dict, repr=False)

    @cached_property
    def rows(self) -> Sequence[Row]:
        """Of all its runs."""
        return [row for run in self.runs for row in run.rows if row["variant"] == self.variant]

    @cached_property
    def images(self) -> dict[str, list[tuple[Run, Row]]]:
        """The restorations of every image."""
        found: dict[str, list[tuple[Run, Row]]] = {}
        for run in self.runs:
            for row in run.rows:
                if row["variant"] == self.variant:
                    found.setdefault(row["sample_id"], []).append((run, row))
        return found

    @property
    def settings(self) -> Mapping[str, Any]:
        """Of its first run; the others differ in the seed."""
        return self.runs[0].settings

    @cached_property
    def measurements(self) -> dict[str, set[str]]:
        """Hashes of the measurements by image: one if all is well, and an empty one for a row that has none."""
        return {image: {str(row.get(MEASUREMENT) or "") for _, row in found} for image, found in self.images.items()}

    @cached_property
    def draws(self) -> dict[str, set[int]]:
        """How many draws of each image its runs have."""
        found: dict[str, set[int]] = {}
        for image, restored in self.images.items():
            found[image] = set(Counter(run.path for run, _ in restored).values())
        return found

    def numbers(self, metric: str) -> Repeated:
        """A number of every image, by seed and draw, -1 for one of all draws together; sorted by image."""
        if metric not in self._numbers:
            found: Repeated = {}
            for run in self.runs:
                for row in (*run.rows, *run.drawn):
                    value = row.get(metric)
                    if (
                        row["variant"] == self.variant
                        and isinstance(value, int | float)
                        and not isinstance(value, bool)
                    ):
                        key = str(run.seed), int(row.get("draw", TOGETHER))
                        found.setdefault(row["sample_id"], {})[key] = float(value)
            self._numbers[metric] = dict(sorted(found.items()))
        return self._numbers[metric]

    def statistics(self, metric: str) -> dict[str, Any] | None:
        """Mean over images, its 95 % interval and their number, see `statistics`; None without any.

        Of a column that is summarised by its maximum that, without an interval.
        """
        if metric not in self._statistics:
            values = [list(values.values()) for values in self.numbers(metric).values()]
            if values and self.runs[0].columns[metric].summary == "max":
                most = {"mean": max(map(max, values)), "low": None, "high": None, "n": len(values)}
                self._statistics[metric] = most
            else:
                self._statistics[metric] = statistics(values) if values else None
        return self._statistics[metric]


def is_number(value: Any) -> bool:
    """Whether a cell of a row is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def methods(runs: Sequence[Run]) -> list[Method]:
    """The methods of these runs, in their order."""
    groups = repetitions(runs)
    several_variants = len({row["variant"] for run in runs for row in run.rows}) > 1
    found = []
    for group, name in zip(groups, names(groups), strict=True):
        for variant in dict.fromkeys(row["variant"] for run in group for row in run.rows):
            label = variant_label(variant, group[0].columns)
            called = ", ".join(part for part in (name, label if several_variants or not name else "") if part)
            found.append(Method(called, group[0].task, variant, label, group))
    return found


def all_columns(runs: Sequence[Run]) -> Columns:
    """The columns of all runs together."""
    columns = runs[0].columns
    for run in runs[1:]:
        columns = columns.with_more(run.columns.known)
    return columns


def metrics_of(compared: Sequence[Method], columns: Columns) -> list[str]:
    """Columns with numbers, in their order; costs among them."""
    present = dict.fromkeys(
        name
        for run in dict.fromkeys(run for method in compared for run in method.runs)
        for row in (*run.rows, *run.drawn)
        for name, value in row.items()
        if is_number(value)
    )
    return columns.ordered(name for name in present if name not in (*IDENTITY, MEASUREMENT))
