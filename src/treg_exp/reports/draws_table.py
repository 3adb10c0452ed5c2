"""Tables of several draws: one, their mean and the best of them side by side, and whether their spread is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from treg_exp.metrics.column import Columns
from treg_exp.reports.columns import BEST, OF_MEAN, variant_label

ORACLE = "†"


def counts_of_draws(summary: Mapping[str, Any]) -> list[int]:
    """How many draws the images of a variant have, each number that occurs once; at least [1]."""
    return sorted({entry.get("draws", 1) for entry in summary["variants"].values()}) or [1]


def draws_table(summary: Mapping[str, Any], columns: Columns) -> Table | None:
    """One line per variant and number: of a single draw, of the mean of all, of the best; None without draws."""
    variants: Mapping[str, Any] = summary["variants"]
    counts = counts_of_draws(summary)
    same = len(counts) == 1
    names = [n for n in columns.of_rows if any(f"{n}{OF_MEAN}" in e["metrics"] for e in variants.values())]
    if max(counts) < 2 or not names:
        return None
    table = framed(
        f"draws: {counts[0] if same else 'several'} of each {columns.medium.noun}",
        "one draw: the mean over draws, as above. of mean: of the mean of the draws.\n"
        f"{ORACLE} the draw nearest to the target by that number: the choice of an oracle that sees the target.",
    )
    for name in ("variant", "number"):
        table.add_column(name, no_wrap=True)
    own = [] if same else ["draws"]
    for heading in (*own, "one draw", "of mean", f"best of {counts[0]}{ORACLE}" if same else f"best{ORACLE}"):
        table.add_column(heading, justify="right", no_wrap=True)
    for variant, entry in variants.items():
        for name in names:
            column = columns[name]
            keys = (name, f"{name}{OF_MEAN}", f"{name}{BEST}")
            cells = [_cell(entry["metrics"].get(key), column.digits) for key in keys]
            count = [] if same else [str(entry.get("draws", 1))]
            table.add_row(variant_label(variant, columns), column.heading, *count, *cells)
    return table


def spread_table(summary: Mapping[str, Any], columns: Columns, names: Sequence[str]) -> Table | None:
    """The spread of the draws and its calibration, one line per variant; None without draws.

    Args:
        summary: of the run.
        columns: of the run.
        names: of the columns of draws that are shown, those of their mean and of the best draw left out.
    """
    if not names:
        return None
    noted = dict.fromkeys(columns[name].note for name in names if columns[name].note)
    table = framed("spread of the draws", "\n".join(noted))
    table.add_column("variant\n", no_wrap=True)
    for name in names:
        lines = columns[name].label.split("\n")
        table.add_column("\n".join([*lines, *[""] * (2 - len(lines))]), justify="right", no_wrap=True)
    for variant, entry in summary["variants"].items():
        cells = [_cell(entry["metrics"].get(name), columns[name].digits) for name in names]
        table.add_row(variant_label(variant, columns), *cells)
    return table


def framed(title: str, caption: str) -> Table:
    """An empty table in the style of all that a run prints."""
    return Table(
        title=title or None, title_justify="left", title_style="bold", caption=caption or None, caption_justify="left",
        caption_style="", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False,
    )  # fmt: skip


def _cell(value: Mapping[str, Any] | None, digits: int) -> str:
    """Mean and half of its interval, on one line."""
    if value is None:
        return "-"
    mean = f"{value['mean']:.{digits}f}"
    return mean if value["low"] is None else f"{mean} ±{(value['high'] - value['low']) / 2:.{digits}f}"
