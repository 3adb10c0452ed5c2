"""The tables of a report as data frames, and as CSV, Markdown and LaTeX (booktabs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from treg_exp.files import write_text
from treg_exp.findings.collection import differing, folder_names
from treg_exp.findings.effects import Effect
from treg_exp.findings.methods import Method
from treg_exp.metrics.column import Columns
from treg_exp.reports.summary import by_image, statistics

if TYPE_CHECKING:
    from pandas import DataFrame

#: What LaTeX reads otherwise.
SIGNS = {
    "\\": r"\textbackslash ", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde ", "^": r"\textasciicircum ",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip
#: Columns of words: LaTeX sets them flush left.
WORDS = ("task", "method", "metric", "verdict")
#: Below this corrected p a difference is marked.
SIGNIFICANT = 0.05


def means(compared: Sequence[Method], metrics: Sequence[str], columns: Columns) -> DataFrame:
    """Mean of every number with its 95 % interval, one line per method; numbers, not text."""
    from pandas import DataFrame

    lines = []
    for method in compared:
        images = {row["sample_id"] for row in method.rows}
        line: dict[str, Any] = {"task": method.task, "method": method.name, "images": len(images)}
        line["seeds"] = len(method.runs)
        for metric in metrics:
            if values := list(by_image(method.rows, metric).values()):
                found = statistics(values)
                line |= {metric: found["mean"], f"{metric}_low": found["low"], f"{metric}_high": found["high"]}
        lines.append(line)
    return DataFrame(lines)


def differences(found: Sequence[Effect], columns: Columns) -> DataFrame:
    """One line per effect."""
    from pandas import DataFrame

    return DataFrame(
        [
            {
                "task": effect.method.task, "method": effect.method.name, "baseline": effect.baseline.name,
                "metric": effect.metric, "difference": effect.mean, "low": effect.low, "high": effect.high,
                "wins": effect.wins, "images": effect.n, "p": effect.p, "q": effect.q,
                "verdict": verdict(effect, columns),
            }
            for effect in found
        ],
        columns=[
            "task", "method", "baseline", "metric", "difference", "low", "high", "wins", "images", "p", "q", "verdict",
        ],
    )  # fmt: skip


def settings(compared: Sequence[Method]) -> DataFrame:
    """What differs between the runs of the methods: one line per key, one column per run."""
    from pandas import DataFrame

    runs = list({run.path: run for method in compared for run in method.runs}.values())
    keys = differing(runs)
    called = folder_names(runs)
    values = [{called[run.path]: str(run.settings.get(key, "")) for run in runs} for key in keys]
    return DataFrame([{"setting": key, **line} for key, line in zip(keys, values, strict=True)])


def environments(compared: Sequence[Method]) -> DataFrame:
    """State, revision, machine and versions of every run."""
    from pandas import DataFrame

    lines = []
    runs = list({run.path: run for method in compared for run in method.runs}.values())
    called = folder_names(runs)
    for run in runs:
        noted, packages = run.environment, run.environment.get("packages") or {}
        chosen = {name: packages.get(name) for name in ("treg_exp", "torch", "diffusers", "torchmetrics")}
        about = {key: str(noted.get(key) or "") for key in ("git", "precision", "gpus", "platform", "python")}
        lines.append({"run": called[run.path], "folder": str(run.path), "state": run.state, **about, **chosen})
    return DataFrame(lines)


def verdict(effect: Effect, columns: Columns) -> str:
    """``better``, ``worse`` or ``open``, by the corrected p."""
    if effect.q > SIGNIFICANT or effect.mean == 0:
        return "open"
    return "better" if (effect.mean > 0) == columns[effect.metric].higher_is_better else "worse"


def shown(found: DataFrame, metrics: Sequence[str], columns: Columns, task: str) -> DataFrame:
    """The means of one task for readers: ``mean [low, high]`` with the digits of each column."""
    from pandas import DataFrame, isna

    lines = []
    for _, line in found[found["task"] == task].iterrows():
        cells = {"method": line["method"], "n": line["images"]}
        for metric in (name for name in metrics if name in found and columns[name].in_table != "never"):
            value, low, high = (line.get(f"{metric}{end}") for end in ("", "_low", "_high"))
            digits, costs = columns[metric].digits, columns[metric].higher_is_better is None
            heading = " ".join(filter(None, (columns[metric].line, columns[metric].unit, columns[metric].arrow)))
            ends = "" if costs or isna(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
            cells[heading] = "" if isna(value) else f"{value:.{digits}f}{ends}"
        lines.append(cells)
    return DataFrame(lines)


def together(by_task: Mapping[str, DataFrame]) -> DataFrame:
    """The tables of all tasks below one another; a number that a task does not have is an empty cell."""
    from pandas import concat

    frames = [frame.assign(task=task) for task, frame in by_task.items()]
    found = concat(frames, ignore_index=True).fillna("")
    return found[["task", *(heading for heading in found if heading != "task")]]


def shown_differences(found: DataFrame, columns: Columns) -> DataFrame:
    """The differences for readers, with the digits of each column."""
    from pandas import DataFrame, isna

    lines = []
    for line in found.itertuples():
        column = columns[line.metric]
        digits = column.digits
        ends = "" if isna(line.low) else f" [{line.low:+.{digits}f}, {line.high:+.{digits}f}]"
        lines.append({
            "task": line.task, "method": line.method, "metric": f"{column.line} {column.arrow}",
            "difference": f"{line.difference:+.{digits}f}{ends}", "wins": f"{100 * line.wins:.0f} %", "n": line.images,
            "q": f"{line.q:.2g}", "verdict": line.verdict,
        })  # fmt: skip
    return DataFrame(lines, columns=["task", "method", "metric", "difference", "wins", "n", "q", "verdict"])


def write_table(name: str, numbers: DataFrame, read: DataFrame, caption: str, folder: Path) -> None:
    """Write a table as ``.csv`` for programs, and as ``.md`` and ``.tex`` for readers.

    Args:
        name: of the files.
        numbers: the table with all digits.
        read: the same for readers, as texts.
        caption: of the LaTeX table.
        folder: where to.
    """
    write_text(folder / f"{name}.csv", numbers.to_csv(index=False))
    write_text(folder / f"{name}.md", read.to_markdown(index=False, disable_numparse=True) + "\n")
    style = read.style.hide(axis="index").format(lambda cell: _tex(str(cell)))
    text = style.format_index(lambda heading: _tex(str(heading)), axis=1).to_latex(
        hrules=True,
        caption=_tex(caption),
        label=f"tab:{name}",
        column_format="".join("l" if heading in WORDS else "r" for heading in read.columns),
    )
    write_text(folder / f"{name}.tex", text)


def _tex(text: str) -> str:
    return "".join(SIGNS.get(sign, sign) for sign in text)
