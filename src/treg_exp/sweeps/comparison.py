"""The jobs of a sweep side by side: one table at its end, and a file with a line per job and variant."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

from treg_exp.files import read_json, write_text
from treg_exp.run_layout import RunLayout
from treg_exp.sweeps.manifest import Job, Sweep, varying

TABLE, LINES = "comparison.txt", "comparison.csv"
MOST_LINES = 40  # of the table; the file has all
NUMBERS = ("mean", "low", "high", "n")


def compare(sweep: Sweep, jobs: Sequence[Job], anew: bool) -> str:
    """The table of the finished jobs; empty where there are none to compare.

    Args:
        sweep: the sweep; table and file are written into its folder.
        jobs: those to compare.
        anew: False takes the table of the last time where there is one.
    """
    file = sweep.path / TABLE
    if not anew and _is_current(sweep, jobs):
        return file.read_text(encoding="utf-8")
    summaries = {job.id: read_json(RunLayout(sweep.folder(job)).summary) for job in jobs}
    done = [job for job in jobs if summaries[job.id].get("variants")]
    if len(done) < 2:
        return ""
    lines = [(job, name, entry) for job in done for name, entry in summaries[job.id]["variants"].items()]
    _write_lines(sweep, done, lines)
    notes = dict.fromkeys(note for job in done for note in summaries[job.id].get("notes", ()))
    table = _table(sweep, done, lines, list(notes))
    write_text(file, table)
    return table


def _is_current(sweep: Sweep, jobs: Sequence[Job]) -> bool:
    """Whether the table of the last time is of these jobs, as they are now."""
    table, file = sweep.path / TABLE, sweep.path / LINES
    if not (table.is_file() and file.is_file()):
        return False
    there = {job.id: RunLayout(sweep.folder(job)).summary for job in jobs}
    times = {job_id: summary.stat().st_mtime for job_id, summary in there.items() if summary.is_file()}
    with file.open(encoding="utf-8", newline="") as lines:
        shown = {line["run"] for line in csv.DictReader(lines)}
    return shown == set(times) and max(times.values(), default=0.0) <= table.stat().st_mtime


def _table(sweep: Sweep, jobs: Sequence[Job], lines: Sequence[tuple[Job, str, Any]], notes: Sequence[str]) -> str:
    from treg_exp.reports.columns import read_columns, variant_label
    from treg_exp.reports.table import render

    columns, labels = read_columns(sweep.folder(jobs[0])), varying(jobs)
    for job in jobs[1:]:
        columns = columns.with_more(read_columns(sweep.folder(job)).known)
    several = len({name for _, name, _ in lines}) > 1
    entries = {
        f"{labels[job.id]}, {variant_label(name, columns)}" if several else labels[job.id]: entry
        for job, name, entry in lines[:MOST_LINES]
    }
    counts = [(entry["restorations"], entry["samples"]) for _, _, entry in lines]
    totals = {"restorations": sum(each for each, _ in counts), "samples": max(each for _, each in counts)}
    more = len(lines) - len(entries)
    told = f"{more} more lines are in {sweep.path / LINES}\n" if more else ""
    return render({**totals, "variants": entries, "notes": notes}, columns, f"{len(jobs)} jobs of {sweep.name}") + told


def _write_lines(sweep: Sweep, jobs: Sequence[Job], lines: Sequence[tuple[Job, str, Any]]) -> None:
    """One line per job and variant: what tells the jobs apart, then each number with its 95 % interval."""
    from treg_exp.reports.rows import write_table

    common = set.intersection(*(set(job.overrides) for job in jobs))
    rows = []
    for job, name, entry in lines:
        settings = dict(part.partition("=")[::2] for part in job.overrides if part not in common and "=" in part)
        numbers = {
            metric if kind == "mean" else f"{metric}_{kind}": value[kind]
            for metric, value in entry["metrics"].items()
            for kind in NUMBERS
        }
        rows.append({"run": job.id, **settings, "variant": name, **numbers})
    settings_first = list(dict.fromkeys(key for row in rows for key in row))
    write_table(rows, settings_first, sweep.path / LINES)
