"""The summary of a run as a table for the terminal: readable at 80 columns and without colour."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from treg_exp.metrics.column import OPTIMISED, Column, Columns
from treg_exp.reports.columns import BEST, OF_MEAN, variant_label
from treg_exp.reports.draws_table import counts_of_draws, draws_table, framed, spread_table

HEADING = "variant"  # of the column of names
WORD = 14  # characters of a variant's name that stay on one line


def summary_table(summary: Mapping[str, Any], columns: Columns, title: str = "") -> Table:
    """A rich table of ``summarise``'s result: variants down, numbers across.

    Args:
        summary: what :func:`~treg_exp.reports.summary.summarise` returned, or ``summary.json``.
        columns: what its numbers mean, see :func:`~treg_exp.reports.columns.read_columns`.
        title: line above it.
    """
    names = _names(summary, columns, ["restoration", "set"])
    noun = columns.medium.noun
    lines = [_footnote([columns[name] for name in names], noun, summary), *_empty(summary, columns, noun)]
    return _table(summary, columns, names, title, "\n".join(lines))


def further_tables(summary: Mapping[str, Any], columns: Columns) -> list[Table]:
    """Those of a run with several draws; nothing of them stands in the first table."""
    spread = [name for name in _names(summary, columns, ["draws"]) if not name.endswith((OF_MEAN, BEST))]
    tables = draws_table(summary, columns), spread_table(summary, columns, spread)
    return [table for table in tables if table is not None]


def _names(summary: Mapping[str, Any], columns: Columns, of: Sequence[str]) -> list[str]:
    """Columns of these kinds that there are numbers for and that tables show."""
    variants = summary["variants"].values()
    present = columns.ordered(name for entry in variants for name in entry["metrics"])
    values = {name: [entry["metrics"].get(name) for entry in variants] for name in present}
    return [name for name in present if columns[name].of in of and _shown(columns[name], values[name])]


def _table(summary: Mapping[str, Any], columns: Columns, names: Sequence[str], title: str, caption: str) -> Table:
    variants: Mapping[str, Any] = summary["variants"]
    table = framed(title, caption)
    table.add_column(
        f"{HEADING}\n\n", overflow="fold", min_width=_longest_word(variant_label(v, columns) for v in variants)
    )
    table.add_column("n\n\n", justify="right", no_wrap=True)
    for name in names:
        table.add_column(_heading(columns[name]), justify="right", no_wrap=True)
    for variant, entry in variants.items():
        cells = [_cell(columns[name], entry["metrics"].get(name)) for name in names]
        table.add_row(variant_label(variant, columns), str(entry["samples"]), *cells)
    return table


def render(summary: Mapping[str, Any], columns: Columns, title: str = "", width: int = 100) -> str:
    """The table as plain text of ``width`` characters, or as many more as its numbers need, for log files and tests."""
    buffer = io.StringIO()
    labels = [variant_label(variant, columns) for variant in summary["variants"]]
    folded = max(0, max(map(len, labels), default=0) - _longest_word(labels))  # what the names can give
    for table in (summary_table(summary, columns, title), *further_tables(summary, columns)):
        console = Console(file=buffer, width=1000, color_system=None, force_terminal=False, markup=False)
        console.width = max(width, Measurement.get(console, console.options, table).maximum - folded)
        print(end="\n" * bool(buffer.tell()), file=buffer)
        console.print(table)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _longest_word(labels: Iterable[str]) -> int:
    words = (len(word) for label in labels for word in label.split())
    return max(len(HEADING), min(WORD, max(words, default=0)))


def _heading(column: Column) -> str:
    """Three lines: two for the label, one for unit, direction and mark."""
    lines = column.label.split("\n")
    sign = " ".join(part for part in (column.unit, column.sign) if part)
    return "\n".join([*lines, *[""] * (2 - len(lines)), sign])


def _cell(column: Column, value: Mapping[str, Any] | None) -> str:
    """Mean, and half the width of its 95 % interval below it; a dash where no image has the number."""
    if value is None:
        return "-"
    mean = f"{value['mean']:.{column.digits}f}"
    if column.summary != "mean" or value["low"] is None:  # costs are no estimates from a sample of images
        return mean
    return f"{mean}\n±{(value['high'] - value['low']) / 2:.{column.digits}f}"


def _shown(column: Column, values: Sequence[Mapping[str, Any] | None]) -> bool:
    if column.in_table == "nonzero":
        return any(value is not None and value["mean"] != 0 for value in values)
    return column.in_table == "always"


def _empty(summary: Mapping[str, Any], columns: Columns, noun: str) -> list[str]:
    """Of columns that no restoration has, those that say why that may be."""
    present = {name for entry in summary["variants"].values() for name in entry["metrics"]}
    lacking = (column for name, column in columns.known.items() if name not in present and column.of == "restoration")
    return [f"No {noun} has {column.line}. {column.note}" for column in lacking if column.note]


def _footnote(columns: Sequence[Column], noun: str, summary: Mapping[str, Any]) -> str:
    lines = [
        f"{summary['restorations']} restorations of {summary['samples']} {noun}s (n: {noun}s). "
        "± half the 95 % bootstrap interval of the mean."
    ]
    if max(counts := counts_of_draws(summary)) > 1:
        those = f"the {counts[0]}" if len(counts) == 1 else "those"
        lines.append(f"Numbers are of single draws, averaged over {those} of each {noun}; below: of all draws.")
    lines += dict.fromkeys(column.note for column in columns if column.note)
    lines += summary.get("notes", ())
    if any(column.optimised for column in columns):
        lines.append(OPTIMISED)
    return "\n".join(lines)
