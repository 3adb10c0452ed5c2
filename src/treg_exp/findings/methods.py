"""What a report compares: a method is a setting of a run and of its text, with all seeds that it was tried with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from treg_exp.findings.collection import Run, names
from treg_exp.metrics.column import Columns
from treg_exp.reports.columns import variant_label
from treg_exp.run_layout import IDENTITY, Row

MEASUREMENT = "measurement"  # column of a row: hash of the measurement


@dataclass(frozen=True)
class Method:
    """Rows that belong together.

    Attributes:
        name: what it is called.
        task: what was measured.
        variant: setting of the text.
        runs: one per seed.
        rows: of all of them.
    """

    name: str
    task: str
    variant: str
    runs: Sequence[Run]
    rows: Sequence[Row]

    @property
    def settings(self) -> Mapping[str, Any]:
        """Of its first run; the others differ in the seed."""
        return self.runs[0].settings

    @property
    def measurements(self) -> dict[str, set[str]]:
        """Hashes of the measurements by image: one if all is well, and an empty one for a row that has none."""
        found: dict[str, set[str]] = {}
        for row in self.rows:
            found.setdefault(row["sample_id"], set()).add(str(row.get(MEASUREMENT) or ""))
        return found


def methods(runs: Sequence[Run]) -> list[Method]:
    """The methods of these runs, in their order."""
    groups: dict[tuple[Any, ...], list[tuple[Run, str]]] = {}
    for run, name in zip(runs, names(runs), strict=True):
        groups.setdefault((run.apart_from_seed, name), []).append((run, name))
    several_variants = len({row["variant"] for run in runs for row in run.rows}) > 1
    found = []
    for group in groups.values():
        members, name = [run for run, _ in group], group[0][1]
        for variant in dict.fromkeys(row["variant"] for run in members for row in run.rows):
            rows = [row for run in members for row in run.rows if row["variant"] == variant]
            label = variant_label(variant, members[0].columns)
            called = ", ".join(part for part in (name, label if several_variants or not name else "") if part)
            found.append(Method(called, members[0].task, variant, members, rows))
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
        for method in compared
        for row in method.rows
        for name, value in row.items()
        if name not in (*IDENTITY, MEASUREMENT) and isinstance(value, int | float)
    )
    return columns.ordered(present)
