"""The rows of a run, one per restoration, as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from treg_exp.files import write_text
from treg_exp.run_layout import IDENTITY, Row


def variants_of(rows: Sequence[Row]) -> list[str]:
    """Names of the variants in the order of their first row."""
    return list(dict.fromkeys(row["variant"] for row in rows))


def columns_of(rows: Sequence[Row], known: Iterable[str]) -> list[str]:
    """All columns: what identifies a row, the known ones, whether filled or not, then further ones by name."""
    first = list(dict.fromkeys([*IDENTITY, *known]))
    return first + sorted({name for row in rows for name in row} - set(first))


def write_results(rows: Sequence[Row], known: Iterable[str], out: str | Path) -> Path:
    """Write ``results.csv``: one line per restoration, stable columns, empty cells for None.

    Args:
        rows: of the run.
        known: names of the run's columns, in order.
        out: CSV file to write.
    """
    return write_table(rows, columns_of(rows, known), out)


def write_table(rows: Sequence[Row], columns: Sequence[str], out: str | Path) -> Path:
    """Write rows as CSV, empty cells for None and for what a row lacks."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_cells(row) for row in rows)
    return write_text(out, buffer.getvalue())


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: "" if value is None else value for name, value in row.items()}
