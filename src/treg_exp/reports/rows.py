"""The rows of a run, one per restoration: reading them back, and the table for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from treg_exp.files import finite, write_text
from treg_exp.reports.columns import IDENTITY, KNOWN

Row = dict[str, Any]


def read_rows(run_dir: str | Path) -> list[Row]:
    """All rows of a run, in the order of the file names and lines; no rows yet is an empty list.

    A line that a killed process left unfinished is skipped: its restoration counts as not done. Of rows with
    the same (sample_id, variant, draw) the first counts. NaN and infinities become None.
    """
    rows: dict[tuple[object, ...], Row] = {}
    for path in sorted((Path(run_dir) / "rows").glob("*.jsonl")):
        for row in read_lines(path):
            rows.setdefault((row["sample_id"], row["variant"], row.get("draw", 0)), row)
    return list(rows.values())


def read_lines(path: Path) -> Iterator[Row]:
    """The rows of one file of JSON lines, without those that a killed process left unfinished."""
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:  # torn, also in the middle of a character; or the empty end of the file
            continue
        if isinstance(row, dict) and "sample_id" in row and "variant" in row:
            yield finite(row)


def variants_of(rows: Sequence[Row]) -> list[str]:
    """Names of the variants in the order of their first row."""
    return list(dict.fromkeys(row["variant"] for row in rows))


def columns_of(rows: Sequence[Row]) -> list[str]:
    """All columns: the known ones, whether filled or not, then further ones by name."""
    known = [*IDENTITY, *KNOWN]
    return known + sorted({name for row in rows for name in row} - set(known))


def write_results(rows: Sequence[Row], out: str | Path) -> Path:
    """Write ``results.csv``: one line per restoration, stable columns, empty cells for None."""
    return write_table(rows, columns_of(rows), out)


def write_table(rows: Sequence[Row], columns: Sequence[str], out: str | Path) -> Path:
    """Write rows as CSV, empty cells for None and for what a row lacks."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_cells(row) for row in rows)
    return write_text(out, buffer.getvalue())


def draw_name(draw: int) -> str:
    """Folder of one draw, where a run makes several."""
    return f"draw_{draw:03d}"


def restored_file(sample: Path, variant: str, draw: int) -> Path:
    """PNG of a restoration below the folder of its sample, whether the run made one draw or several."""
    path = sample / variant / "reconstruction.png"
    return path if path.is_file() else sample / variant / draw_name(draw) / "reconstruction.png"


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: "" if value is None else value for name, value in row.items()}
