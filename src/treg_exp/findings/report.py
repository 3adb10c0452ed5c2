"""``treg-exp report``: tables, figures and one page from run folders alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from treg_exp.errors import ConfigError
from treg_exp.files import write_text
from treg_exp.findings.charts import charts, save
from treg_exp.findings.collection import Run, collect
from treg_exp.findings.methods import Method, baseline_of, columns_of, effects, methods, metrics_of
from treg_exp.findings.page import render_page
from treg_exp.findings.pictures import gather
from treg_exp.findings.tables import differences, environments, means, settings, shown, write_all
from treg_exp.metrics.column import Columns

if TYPE_CHECKING:
    from pandas import DataFrame

PICTURES = 300  # samples with pictures in the page, unless another number is given
PACKAGES = ("pandas", "altair", "vl_convert", "itables", "jinja2", "tabulate")
ABOUT = (
    "Means of the differences method - baseline over the images that both have, with the same measurement (their "
    "hashes are compared). Draws and seeds of an image are averaged before. Intervals: 95 % percentile bootstrap over "
    "images, 2000 resamples. p: paired sign-flip permutation test, two-sided; q: p after Benjamini and Hochberg's "
    "correction for all lines of this table. Verdict: better or worse where q is at most 0.05, open elsewhere. Wins: "
    "share of the images on which the method is better."
)


def report(paths: Sequence[Path], out: Path, baseline: str | None = None, pictures: int = PICTURES) -> Path:
    """Write the report of some runs.

    Args:
        paths: folders of runs and sweeps.
        out: folder of the report.
        baseline: name of the method, or a part of it, that others are compared with; None is the first of each task.
        pictures: samples with pictures in the page.

    Returns:
        The page.

    Raises:
        ConfigError: no run with results is there, no method has that name, or packages are missing.
    """
    _check_packages()
    runs = collect(paths)
    compared, columns = methods(runs), columns_of(runs)
    metrics = metrics_of(compared, columns)
    baselines = baseline_of(compared, baseline)
    found = effects(compared, baselines, metrics, columns)
    drawn = charts(compared, found, metrics, columns)
    frames = {"means": means(compared, metrics, columns), "differences": differences(found, columns)}
    captions = {"means": "Means with 95 % intervals.", "differences": ABOUT}
    write_all(frames, out / "tables", captions)
    save(drawn, out / "figures")
    tasks = list(dict.fromkeys(method.task for method in compared))
    page = render_page(
        title=f"{', '.join(path.resolve().name for path in paths)}",
        overview=_overview(runs, compared, baselines),
        notes=_notes(runs),
        means={task: shown(frames["means"], metrics, columns, task) for task in tasks},
        differences=_readable(frames["differences"], columns),
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


def _overview(runs: Sequence[Run], compared: Sequence[Method], baselines: dict[str, Method]) -> str:
    restorations = sum(len(run.rows) for run in runs)
    against = ", ".join(f"{method.name} ({task})" for task, method in baselines.items())
    counts = f"{restorations} restorations of {_count(len(runs), 'run')}, {_count(len(compared), 'method')} in "
    return f"{counts}{_count(len(baselines), 'task')}. Baseline: {against}. In brackets: 95 % intervals of means."


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


def _readable(frame: DataFrame, columns: Columns) -> DataFrame:
    """The differences with the digits of each column."""
    from pandas import DataFrame

    lines = []
    for line in frame.itertuples():
        digits = columns[line.metric].digits
        ends = "" if line.low is None else f" [{line.low:+.{digits}f}, {line.high:+.{digits}f}]"
        lines.append({
            "task": line.task, "method": line.method,
            "metric": f"{columns[line.metric].line} {columns[line.metric].arrow}",
            "difference": f"{line.difference:+.{digits}f}{ends}", "wins": f"{100 * line.wins:.0f} %", "n": line.images,
            "q": f"{line.q:.2g}", "verdict": line.verdict,
        })  # fmt: skip
    return DataFrame(lines)


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
