"""``treg-exp report``: tables, figures and one page from run folders alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from treg_exp.errors import ConfigError
from treg_exp.files import write_text
from treg_exp.findings import pictures as thumbnails
from treg_exp.findings import provenance, tables
from treg_exp.findings.charts import drawing
from treg_exp.findings.collection import Collection, Run, collect
from treg_exp.findings.effects import effect_notes, effects
from treg_exp.findings.methods import Method, all_columns, methods, metrics_of
from treg_exp.findings.page import Content, render_page
from treg_exp.findings.pairing import baseline_of, pairing_notes, pairings
from treg_exp.findings.written import write_table

if TYPE_CHECKING:
    from pandas import DataFrame

PICTURES = 300  # samples with pictures in the page, unless another number is given
PACKAGES = ("pandas", "altair", "vl_convert", "itables", "jinja2", "tabulate", "scipy")
ABOUT = (
    "Means of the differences method - baseline over the images that both have, with the same measurement (told by "
    "its hash, where there is one). Intervals: 95 % percentile bootstrap, 2000 resamples of the images and, where an "
    "image has several seeds or draws, of those within it. g: the mean in standard deviations of the differences "
    "(Hedges' g_z, paired and without small-sample bias) with its 95 % large-sample interval. p: paired sign-flip "
    "permutation test of the images' means, two-sided; q: p after Benjamini and Hochberg's correction for all tests of "
    "this table. Not tested are numbers without a better direction and what differs nowhere (same). Verdict: better or "
    "worse where q is at most 0.05, open elsewhere. Wins: share of the images on which the method is better."
)


@dataclass(frozen=True)
class Written:
    """What a report has made.

    Attributes:
        page: ``report.html``.
        skipped: folders that could not be read, each with its reason.
    """

    page: Path
    skipped: Sequence[str]


def report(paths: Sequence[Path], out: Path, baseline: str | None = None, pictures: int = PICTURES) -> Written:
    """Write the report of some runs.

    Args:
        paths: folders of runs and sweeps.
        out: folder of the report.
        baseline: the method that others are compared with, see `baseline_of`; None is the first of each task.
        pictures: samples with pictures in the page.

    Raises:
        ConfigError: no run with results is there, no method or several have that name, the report cannot be where it
            should, or packages are missing.
    """
    _check_packages()
    if pictures < 0:
        raise ConfigError(f"--pictures {pictures}: must be at least 0")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is a file; name a folder")
    collected = collect(paths)
    runs = collected.runs
    compared, columns = methods(runs), all_columns(runs)
    metrics = metrics_of(compared, columns)
    baselines = baseline_of(compared, baseline)
    pairs = pairings(compared, baselines)
    found = effects(pairs, metrics, columns)
    tasks = list(dict.fromkeys(method.task for method in compared))
    numbers, changes = tables.means(compared, metrics, columns), tables.differences(found, columns)
    by_task = {task: tables.shown(numbers, metrics, columns, task) for task in tasks}
    read_changes = tables.shown_differences(changes, columns)
    against = ", ".join(f"{method.name} ({task})" for task, method in baselines.items())
    footnote = tables.footnote([name for name in metrics if columns[name].in_table != "never"], columns)
    caption, folder = "Means with 95 % intervals in brackets.", out / "tables"
    write_table("means", numbers, tables.together(by_task), caption, folder, footnote)
    write_table("differences", changes, read_changes, f"Baseline: {against}. {ABOUT}", folder, footnote)
    figures = drawing.figures(compared, found, metrics, columns)
    drawing.save(figures, out / "figures")
    seen = thumbnails.gather(
        compared, [name for name in metrics if columns[name].in_table == "always"], pictures, columns
    )
    content = Content(
        title=", ".join(path.resolve().name for path in paths),
        overview=_overview(runs, compared, against, len(tasks)),
        notes=[
            *_notes(collected), *pairing_notes(compared, baselines, pairs),
            *effect_notes(pairs, metrics, columns), *drawing.notes(compared),
            *thumbnails.notes(seen),
        ],
        means=by_task,
        differences=read_changes,
        about_differences=ABOUT,
        footnote=footnote,
        headings={name: columns[name].line for name in metrics},
        seeds=tables.seeds(compared, metrics, columns),
        sets=provenance.of_sets(runs),
        figures=figures,
        pictures=seen,
        rows=_rows(compared, metrics),
        settings=provenance.settings(runs),
        environments=provenance.environments(runs),
        fingerprints=provenance.fingerprints(runs),
        about_fingerprints=provenance.said(runs, pairs),
    )  # fmt: skip
    return Written(write_text(out / "report.html", render_page(content)), collected.skipped)


def _check_packages() -> None:
    from importlib.util import find_spec

    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise ConfigError(f"a report needs {', '.join(missing)}: pip install 'treg_exp[report]'")


def _overview(runs: Sequence[Run], compared: Sequence[Method], against: str, tasks: int) -> str:
    restorations = sum(len(run.rows) for run in runs)
    counts = f"{restorations} restorations of {_count(len(runs), 'run')}, {_count(len(compared), 'method')} in "
    return f"{counts}{_count(tasks, 'task')}. Baseline: {against}. In brackets: 95 % intervals of means."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _notes(collected: Collection) -> list[str]:
    """What makes a comparison weaker than it looks."""
    runs = collected.runs
    notes = [f"Left out: {reason}." for reason in collected.skipped]
    notes += [f"{damage}." for run in runs for damage in run.damage]
    notes += [f"{run.path}: {run.state}; its numbers are of what is there." for run in runs if run.state != "finished"]
    notes += [f"{run.path}: {note}" for run in runs for note in run.summary.get("notes", ()) if isinstance(note, str)]
    for name, key in (("revisions of the code", "git"), ("number formats", "precision")):
        values = {str(run.environment.get(key)) for run in runs}
        if len(values) > 1:
            notes.append(f"The runs were made with different {name}: {', '.join(sorted(values))}.")
    packages = {str(sorted((run.environment.get("packages") or {}).items())) for run in runs}
    if len(packages) > 1:
        notes.append("The runs were made with different versions of packages; see the end of the page.")
    if names := provenance.scored_differently(runs):
        notes.append(
            f"Not all runs were scored by the same version of {', '.join(names)}: do not compare these numbers."
        )
    return notes


def _rows(compared: Sequence[Method], metrics: Sequence[str]) -> DataFrame:
    from pandas import DataFrame

    of_rows = [name for name in metrics if any(name in row for method in compared for row in method.rows)]
    return DataFrame(
        {
            "task": method.task, "method": method.name, "sample": row["sample_id"],
            "seed": str(run.seed), "draw": row.get("draw", 0), "prompt": row.get("prompt", ""),
            **{name: "" if row.get(name) is None else float(f"{row[name]:.4g}") for name in of_rows},
        }
        for method in compared
        for rows in method.images.values()
        for run, row in rows
    )  # fmt: skip
