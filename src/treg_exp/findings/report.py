"""``treg-exp report``: tables, figures and one page from run folders alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from treg_exp.errors import ConfigError
from treg_exp.files import write_text
from treg_exp.findings.charts import charts, save
from treg_exp.findings.collection import Run, collect
from treg_exp.findings.effects import effects
from treg_exp.findings.methods import Method, all_columns, methods, metrics_of
from treg_exp.findings.page import render_page
from treg_exp.findings.pairing import baseline_of, pairing_notes, pairings
from treg_exp.findings.pictures import gather
from treg_exp.findings.tables import (
    differences,
    environments,
    means,
    settings,
    shown,
    shown_differences,
    together,
    write_table,
)

if TYPE_CHECKING:
    from pandas import DataFrame

PICTURES = 300  # samples with pictures in the page, unless another number is given
PACKAGES = ("pandas", "altair", "vl_convert", "itables", "jinja2", "tabulate", "scipy")
ABOUT = (
    "Means of the differences method - baseline over the images that both have, with the same measurement (told by "
    "its hash, where there is one). Draws and seeds of an image are averaged before. Intervals: 95 % percentile "
    "bootstrap over images, 2000 resamples. p: paired sign-flip permutation test, two-sided; q: p after Benjamini and "
    "Hochberg's correction for all lines of this table. Verdict: better or worse where q is at most 0.05, open "
    "elsewhere. Wins: share of the images on which the method is better."
)


def report(paths: Sequence[Path], out: Path, baseline: str | None = None, pictures: int = PICTURES) -> Path:
    """Write the report of some runs.

    Args:
        paths: folders of runs and sweeps.
        out: folder of the report.
        baseline: the method that others are compared with, see `baseline_of`; None is the first of each task.
        pictures: samples with pictures in the page.

    Returns:
        The page.

    Raises:
        ConfigError: no run with results is there, no method or several have that name, or packages are missing.
    """
    _check_packages()
    runs = collect(paths)
    compared, columns = methods(runs), all_columns(runs)
    metrics = metrics_of(compared, columns)
    baselines = baseline_of(compared, baseline)
    pairs = pairings(compared, baselines)
    against = ", ".join(f"{method.name} ({task})" for task, method in baselines.items())
    found = effects(pairs, metrics, columns)
    drawn = charts(compared, found, metrics, columns)
    tasks = list(dict.fromkeys(method.task for method in compared))
    numbers, changes = means(compared, metrics, columns), differences(found, columns)
    by_task = {task: shown(numbers, metrics, columns, task) for task in tasks}
    read_changes = shown_differences(changes, columns)
    write_table("means", numbers, together(by_task), "Means with 95 % intervals in brackets.", out / "tables")
    write_table("differences", changes, read_changes, f"Baseline: {against}. {ABOUT}", out / "tables")
    save(drawn, out / "figures")
    page = render_page(
        title=f"{', '.join(path.resolve().name for path in paths)}",
        overview=_overview(runs, compared, against, len(tasks)),
        notes=_notes(runs) + pairing_notes(compared, baselines, pairs),
        means=by_task,
        differences=read_changes,
        about_differences=ABOUT,
        charts=drawn,
        pictures=gather(compared, [name for name in metrics if columns[name].in_table == "always"], pictures),
        rows=_rows(compared, metrics),
        settings=settings(compared),
        environments=environments(compared),
    )
    return write_text(out / "report.html", page)


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


def _notes(runs: Sequence[Run]) -> list[str]:
    """What makes a comparison weaker than it looks."""
    notes = [f"{run.path}: {run.state}; its numbers are of what is there." for run in runs if run.state != "finished"]
    for name, key in (("revisions of the code", "git"), ("number formats", "precision")):
        values = {str(run.environment.get(key)) for run in runs}
        if len(values) > 1:
            notes.append(f"The runs were made with different {name}: {', '.join(sorted(values))}.")
    packages = {str(sorted((run.environment.get("packages") or {}).items())) for run in runs}
    if len(packages) > 1:
        notes.append("The runs were made with different versions of packages; see the end of the page.")
    return notes


def _rows(compared: Sequence[Method], metrics: Sequence[str]) -> DataFrame:
    from pandas import DataFrame

    return DataFrame(
        {
            "task": method.task, "method": method.name, "sample": row["sample_id"], "draw": row.get("draw", 0),
            "prompt": row.get("prompt", ""),
            **{name: None if row.get(name) is None else float(f"{row[name]:.4g}") for name in metrics if name in row},
        }
        for method in compared
        for row in method.rows
    )  # fmt: skip
