"""All figures of a report, and their files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treg_exp.files import write_bytes
from treg_exp.findings.charts import curves, factors, fronts
from treg_exp.findings.charts.effects import forest
from treg_exp.findings.charts.style import COLUMN, IN_PAGE, PAGE, PPI, sized
from treg_exp.findings.effects import Effect
from treg_exp.findings.factors import MOST_PAIRS
from treg_exp.findings.methods import Method
from treg_exp.metrics.column import Columns

IN_PAGE_LETTERS = 11  # px
LONG_NAME = 28  # characters of a method's longest line from which on a forest takes the whole width of a page


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        chart: of Altair.
        metric: what it is about.
        width: of its file, in pt.
        of_steps: whether it shows what happened on the way.
        flat: whether it is as high as its methods need: the page keeps such ones apart from the higher ones.
    """

    chart: Any
    metric: str
    width: int = COLUMN
    of_steps: bool = False
    flat: bool = False

    def in_page(self) -> dict[str, Any]:
        """Specification for the page."""
        return sized(self.chart, IN_PAGE, IN_PAGE_LETTERS)

    def in_paper(self) -> dict[str, Any]:
        """Specification for its files."""
        return sized(self.chart, self.width)


def figures(
    compared: Sequence[Method], found: Sequence[Effect], metrics: Sequence[str], columns: Columns
) -> dict[str, Figure]:
    """All figures that these methods have, by the name of their file."""
    drawn: dict[str, Figure] = {}
    shown = [name for name in metrics if columns[name].in_table != "never"]
    measured = [name for name in shown if columns[name].summary == "mean"]
    longest = max((len(part) for method in compared for part in method.name.split(", ")), default=0)
    wide = PAGE if longest > LONG_NAME else COLUMN
    for metric in measured:
        drawn[f"effect_{metric}"] = Figure(forest(found, metric, columns), metric, wide, flat=True)
    for x, y in fronts.wanted(metrics):
        drawn[f"front_{y}_{x}"] = Figure(fronts.front(compared, x, y, columns), y)
    tasks = list(dict.fromkeys(method.task for method in compared))
    for task in tasks:
        own = [method for method in compared if method.task == task]
        ending = f"_{task}" if len(tasks) > 1 else ""
        for metric in measured:
            for name, chart in factors.drawings(own, metric, columns, MOST_PAIRS).items():
                drawn[file_name(f"along_{metric}_{name}{ending}")] = Figure(_headed(chart, task, tasks), metric)
        for column, chart in curves.drawings(curves.recorded(own)).items():
            drawn[file_name(f"steps_{column}{ending}")] = Figure(_headed(chart, task, tasks), column, PAGE, True)
    return {name: figure for name, figure in drawn.items() if figure.chart is not None}


def notes(compared: Sequence[Method]) -> list[str]:
    """Which figures there would be besides."""
    found = []
    for task in dict.fromkeys(method.task for method in compared):
        if hidden := factors.left_out([method for method in compared if method.task == task], MOST_PAIRS):
            found.append(f"{task}: pairs of settings that are not drawn: {', '.join(hidden)}.")
    return found


def _headed(chart: Any, task: str, tasks: Sequence[str]) -> Any:
    return chart.properties(title=task) if len(tasks) > 1 else chart


def file_name(name: str) -> str:
    """The same without what file systems and addresses mind."""
    return re.sub(r"[^\w.-]+", "_", name)


def save(drawn: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write every figure as PNG on white, and as PDF without a ground."""
    import vl_convert

    written = []
    for name, figure in drawn.items():
        spec = figure.in_paper()
        on_white = spec | {"background": "white"}
        written.append(write_bytes(folder / f"{name}.png", vl_convert.vegalite_to_png(on_white, ppi=PPI)))
        written.append(write_bytes(folder / f"{name}.pdf", vl_convert.vegalite_to_pdf(spec)))
    return written
