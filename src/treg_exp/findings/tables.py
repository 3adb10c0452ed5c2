"""The tables of a report as data frames, and as CSV, Markdown and LaTeX (booktabs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from treg_exp.findings.effects import Effect
from treg_exp.findings.methods import Method
from treg_exp.metrics.column import MARK, OPTIMISED, Columns

if TYPE_CHECKING:
    from pandas import DataFrame

#: Below this corrected p a difference is marked.
SIGNIFICANT = 0.05


def means(compared: Sequence[Method], metrics: Sequence[str], columns: Columns) -> DataFrame:
    """Mean of every number with its 95 % interval, one line per method; numbers, not text."""
    from pandas import DataFrame

    lines = []
    for method in compared:
        line: dict[str, Any] = {"task": method.task, "method": method.name, "images": len(method.images)}
        line["seeds"] = len(method.runs)
        for metric in (name for name in metrics if columns[name].summary != "none"):
            if found := method.statistics(metric):
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
                "g": effect.size, "g_low": effect.size_low, "g_high": effect.size_high,
                "wins": effect.wins, "images": effect.n, "p": effect.p, "q": effect.q,
                "verdict": verdict(effect, columns),
            }
            for effect in found
        ],
        columns=[
            "task", "method", "baseline", "metric", "difference", "low", "high", "g", "g_low", "g_high", "wins",
            "images", "p", "q", "verdict",
        ],
    )  # fmt: skip


def seeds(compared: Sequence[Method], metrics: Sequence[str], columns: Columns) -> DataFrame:
    """How much the means of methods with several seeds depend on the seed; empty where there are none."""
    from pandas import DataFrame

    lines = []
    for method in (method for method in compared if len(method.runs) > 1):
        for metric in (name for name in metrics if columns[name].summary == "mean"):
            by_seed: dict[str, list[float]] = {}
            for values in method.numbers(metric).values():
                for (seed, _), value in values.items():
                    by_seed.setdefault(seed, []).append(value)
            if len(by_seed) > 1:
                column, each = columns[metric], [sum(own) / len(own) for own in by_seed.values()]
                spread = DataFrame(each)[0]
                told = {"mean": spread.mean(), "sd of seeds": spread.std(), "lowest": min(each), "highest": max(each)}
                lines.append({
                    "task": method.task, "method": method.name, "metric": f"{column.line} {column.sign}",
                    "seeds": len(each), **{name: f"{value:.{column.digits + 1}f}" for name, value in told.items()},
                })  # fmt: skip
    return DataFrame(lines)


def verdict(effect: Effect, columns: Columns) -> str:
    """``better``, ``worse`` or ``open``, by the corrected p; ``same`` where no method differs.

    Nothing of a number without a better direction.
    """
    if columns[effect.metric].higher_is_better is None:
        return ""
    if effect.q is None:
        return "same"
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
            digits, costs = columns[metric].digits, columns[metric].summary != "mean"
            ends = "" if costs or isna(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
            cells[columns[metric].heading] = "" if isna(value) else f"{value:.{digits}f}{ends}"
        lines.append(cells)
    return DataFrame(lines)


def footnote(metrics: Sequence[str], columns: Columns) -> str:
    """What the mark in headings means; nothing where none has it."""
    return OPTIMISED if any(columns[name].optimised for name in metrics) else ""


def together(by_task: Mapping[str, DataFrame]) -> DataFrame:
    """The tables of all tasks below one another; a number that a task does not have is an empty cell."""
    from pandas import concat

    frames = [frame.assign(task=task) for task, frame in by_task.items()]
    found = concat(frames, ignore_index=True).fillna("")
    return found[["task", *(heading for heading in found if heading != "task")]]


def signed(mean: float, low: float | None, high: float | None, digits: int) -> str:
    """A difference for readers, with its interval where it has one."""
    from pandas import isna

    return f"{mean:+.{digits}f}" + ("" if isna(low) else f" [{low:+.{digits}f}, {high:+.{digits}f}]")


def shown_differences(found: DataFrame, columns: Columns) -> DataFrame:
    """The differences for readers, with the digits of each column."""
    from pandas import DataFrame, isna

    lines = []
    for line in found.itertuples():
        column = columns[line.metric]
        digits = column.digits
        size = "" if isna(line.g) else f"{line.g:+.2f} [{line.g_low:+.2f}, {line.g_high:+.2f}]"
        lines.append({
            "task": line.task, "method": line.method, "metric": f"{column.line} {column.sign}".strip(),
            "difference": signed(line.difference, line.low, line.high, digits), "g": size,
            "wins": "" if isna(line.wins) else f"{100 * line.wins:.0f} %", "n": line.images,
            "q": "" if isna(line.q) else f"{line.q:.2g}",
            "verdict": line.verdict + (MARK if column.optimised and line.verdict else ""),
        })  # fmt: skip
    return DataFrame(lines, columns=["task", "method", "metric", "difference", "g", "wins", "n", "q", "verdict"])
