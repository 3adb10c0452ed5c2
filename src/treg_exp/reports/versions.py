"""Whether all rows of a run were scored by the same versions of its metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from treg_exp.metrics.column import Columns
from treg_exp.run_layout import Row

SCORED_BY = "scored_by"  # of a row: the hash of the versions, see ``metrics/provenance.py``


def add_versions(summary: dict[str, Any], rows: Iterable[Row], columns: Columns) -> None:
    """Count the rows of each hash in a summary, as ``scored_by``, and note where there are several.

    Args:
        summary: gets the entry, and a line more in ``notes``.
        rows: of the run.
        columns: of the run; they know what is behind a hash.
    """
    counts = Counter(row.get(SCORED_BY) or "unknown" for row in rows)
    summary[SCORED_BY] = dict(counts)
    if len(counts) > 1:
        made = [columns.scored_by.get(name, {}) for name in counts]
        names = ", ".join(dict.fromkeys(name for other in made[1:] for name in different(made[0], other)))
        told = f"Rows were scored by {len(counts)} versions of metrics ({names or 'not known which'}): do not mix them."
        summary.setdefault("notes", []).append(told)


def different(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the metrics whose versions differ, those that only one side has included."""
    return [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]


def scored_otherwise(rows: Iterable[Row], now: str, columns: Columns, versions: Mapping[str, Any]) -> list[str]:
    """What to tell of a run that is continued with other versions of metrics.

    Args:
        rows: those that are there.
        now: hash of the versions that the others will have.
        columns: of the run.
        versions: what is behind that hash.

    Returns:
        One sentence for each other hash.
    """
    counts = Counter(row.get(SCORED_BY) or "" for row in rows)
    found = []
    for name, count in counts.items():
        if name == now:
            continue
        names = ", ".join(different(columns.scored_by[name], versions)) if name in columns.scored_by else ""
        what = f"other versions of {names}" if names else "metrics whose versions are not known"
        found.append(f"{count} restorations were scored by {what}; do not compare their numbers with new ones")
    return found
