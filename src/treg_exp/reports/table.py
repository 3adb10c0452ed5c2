"""The summary of a run as a table for the terminal: readable at 80 columns and without colour."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from treg_exp.reports.columns import KNOWN, Column, column, variant_label

MARK = "*"
WORD = 14  # characters of a variant's name that stay on one line


def summary_table(summary: Mapping[str, Any], title: str = "") -> Table:
    """A rich table of ``summarise``'s result: variants down, numbers across.

    Args:
        summary: what :func:`~treg_exp.reports.summary.summarise` returned, or ``summary.json``.
        title: line above it.
    """
    variants: Mapping[str, Any] = summary["variants"]
    present = list(dict.fromkeys(name for entry in variants.values() for name in entry["metrics"]))
    names = [name for name in KNOWN if name in present] + [name for name in present if name not in KNOWN]
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        caption=_footnote(names, summary),
        caption_justify="left",
        caption_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    table.add_column("variant\n\n", overflow="fold", min_width=_longest_word(map(variant_label, variants)))
    table.add_column("n\n\n", justify="right", no_wrap=True)
    for name in names:
        table.add_column(_heading(column(name)), justify="right", no_wrap=True)
    for variant, entry in variants.items():
        cells = [_cell(column(name), entry["metrics"].get(name)) for name in names]
        table.add_row(variant_label(variant), str(entry["samples"]), *cells)
    return table


def render(summary: Mapping[str, Any], title: str = "", width: int = 100) -> str:
    """The table as plain text of ``width`` characters, or as many more as its numbers need, for log files and tests."""
    buffer, table = io.StringIO(), summary_table(summary, title)
    console = Console(file=buffer, width=1000, color_system=None, force_terminal=False)
    labels = [variant_label(variant) for variant in summary["variants"]]
    folded = max(map(len, labels), default=0) - _longest_word(labels)  # what the names can give
    console.width = max(width, Measurement.get(console, console.options, table).maximum - folded)
    console.print(table)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _longest_word(labels: Iterable[str]) -> int:
    return min(WORD, max((len(word) for label in labels for word in label.split()), default=0))


def _heading(column: Column) -> str:
    """Three lines: two for the label, one for unit, direction and mark."""
    lines = column.label.split("\n")
    sign = " ".join(part for part in (column.unit, column.arrow + (MARK if column.optimised else "")) if part)
    return "\n".join([*lines, *[""] * (2 - len(lines)), sign])


def _cell(column: Column, value: Mapping[str, Any] | None) -> str:
    """Mean, and half the width of its 95 % interval below it; a dash where no image has the number."""
    if value is None:
        return "-"
    mean = f"{value['mean']:.{column.digits}f}"
    # Time and number of evaluations are costs, not estimates from a sample of images.
    if column.higher_is_better is None or value["low"] is None:
        return mean
    return f"{mean}\n±{(value['high'] - value['low']) / 2:.{column.digits}f}"


def _footnote(names: list[str], summary: Mapping[str, Any]) -> str:
    lines = [
        f"{summary['restorations']} restorations of {summary['samples']} images (n: images). "
        "± half the 95 % bootstrap interval of the mean."
    ]
    if "residual" in names:
        lines.append("residual: RMSE(y - Ax) / sigma, 1 = as close as the noise allows (RMSE where sigma is 0).")
    if any(column(name).optimised for name in names):
        lines.append(f"{MARK} optimised for: the text guidance uses the same encoder; no independent evidence.")
    return "\n".join(lines)
