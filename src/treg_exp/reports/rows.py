"""The rows of a run, one per restoration, as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from treg_exp.files import write_parts
from treg_exp.run_layout import IDENTITY, Row


def columns_of(present: Iterable[str], known: Iterable[str]) -> list[str]:
    """All columns: what identifies a row, the known ones, whether present or not, then further ones by name."""
    first = list(dict.fromkeys([*IDENTITY, *known]))
    return first + sorted(set(present) - set(first))


def write_results(rows: Iterable[Row], known: Iterable[str], out: str | Path) -> Path:
    """Write ``results.csv``: one line per restoration, stable columns, empty cells for None.

    Args:
        rows: of the run; read twice.
        known: names of the run's columns, in order.
        out: CSV file to write.
    """
    return write_table(rows, columns_of((name for row in rows for name in row), known), out)


def write_table(rows: Iterable[Row], columns: Sequence[str], out: str | Path) -> Path:
    """Write rows as CSV, one by one, empty cells for None and for what a row lacks."""
    return write_parts(out, _lines(rows, columns))


def _lines(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(_cells(row))
    yield buffer.getvalue().encode()


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: "" if value is None else value for name, value in row.items()}
