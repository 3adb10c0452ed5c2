"""The tables of a report as data frames, and as CSV, Markdown and LaTeX (booktabs)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from treg_exp.files import write_text
from treg_exp.findings.collection import differing
from treg_exp.findings.methods import Effect, Method
from treg_exp.metrics.column import Columns
from treg_exp.reports.summary import by_image, statistics

if TYPE_CHECKING:
    from pandas import DataFrame

#: What LaTeX reads otherwise.
SIGNS = {
    "\\": r"\textbackslash ", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip
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
    values = [{run.path.name: str(run.settings.get(key, "")) for run in runs} for key in keys]
    return DataFrame([{"setting": key, **line} for key, line in zip(keys, values, strict=True)])


def environments(compared: Sequence[Method]) -> DataFrame:
    """State, revision, machine and versions of every run."""
    from pandas import DataFrame

    lines = []
    for run in {run.path: run for method in compared for run in method.runs}.values():
        noted, packages = run.environment, run.environment.get("packages") or {}
        chosen = {name: packages.get(name) for name in ("treg_exp", "torch", "diffusers", "torchmetrics")}
        about = {key: str(noted.get(key) or "") for key in ("git", "precision", "gpus", "platform", "python")}
        lines.append({"run": run.path.name, "folder": str(run.path), "state": run.state, **about, **chosen})
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


def write_all(frames: dict[str, DataFrame], folder: Path, captions: dict[str, str]) -> list[Path]:
    """Write every table as ``.csv``, ``.md`` and ``.tex``.

    Args:
        frames: by name of the file.
        folder: where to.
        captions: by the same names.
    """
    written = []
    for name, frame in frames.items():
        written.append(write_text(folder / f"{name}.csv", frame.to_csv(index=False)))
        written.append(write_text(folder / f"{name}.md", frame.to_markdown(index=False, floatfmt=".4g") + "\n"))
        style = frame.style.hide(axis="index").format(escape="latex", precision=4, na_rep="")
        text = style.format_index(lambda column: _tex(str(column)), axis=1).to_latex(
            hrules=True,
            caption=_tex(captions[name]),
            label=f"tab:{name}",
            column_format="".join("r" if _is_number(frame[column]) else "l" for column in frame.columns),
        )
        written.append(write_text(folder / f"{name}.tex", text))
    return written


def _is_number(column: Any) -> bool:
    from pandas.api.types import is_numeric_dtype

    return bool(is_numeric_dtype(column))


def _tex(text: str) -> str:
    return "".join(SIGNS.get(sign, sign) for sign in text)
