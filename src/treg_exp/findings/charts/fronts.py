"""Two numbers against each other, with the methods that no other one beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from treg_exp.findings.charts.style import title_of
from treg_exp.findings.methods import Method
from treg_exp.metrics.column import Columns

ALIGNMENT = ("judge_own", "judge_match", "align_own")
QUALITY = ("lpips", "psnr", "ssim", "si_sdr")
COSTS = ("seconds", "nfe")
HEIGHT = 260  # px


def wanted(metrics: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs that are drawn: alignment against residual, quality against the costs."""
    alignment = next((name for name in ALIGNMENT if name in metrics), None)
    quality = next((name for name in QUALITY if name in metrics), alignment)
    found = [("residual", alignment)] if alignment and "residual" in metrics else []
    return found + [(cost, quality) for cost in COSTS if quality and cost in metrics]


def points(compared: Sequence[Method], x: str, y: str, columns: Columns) -> list[dict[str, Any]]:
    """One per method that has both numbers; ``front``: no other one of its task beats it in both.

    What is better says `Column.higher_is_better`; of a cost, which has no direction, less is better.
    """
    lines: list[dict[str, Any]] = []
    for method in compared:
        along, up = method.statistics(x), method.statistics(y)
        if along and up:
            ends = {
                f"{axis}{end}": found[key]
                for axis, found in (("x", along), ("y", up))
                for end, key in (("", "mean"), ("_low", "low"), ("_high", "high"))
            }
            lines.append({"method": method.name, "task": method.task, **ends})
    signs = [1 if columns[name].higher_is_better else -1 for name in (x, y)]
    for line in lines:
        rivals = [other for other in lines if other["task"] == line["task"] and other is not line]
        line["front"] = not any(_beats(other, line, signs) for other in rivals)
    return lines


def _beats(one: Mapping[str, Any], other: Mapping[str, Any], signs: Sequence[int]) -> bool:
    gains = [sign * (one[name] - other[name]) for name, sign in zip(("x", "y"), signs, strict=True)]
    return bool(min(gains) >= 0 and max(gains) > 0)


def front(compared: Sequence[Method], x: str, y: str, columns: Columns) -> Any:
    """The points, the front as a staircase of what can be had, its methods by number with their names below.

    Names beside the points would lie upon one another as soon as methods are alike, so points are numbered.
    """
    import altair as alt
    from pandas import DataFrame

    lines = points(compared, x, y, columns)
    if len(lines) < 2:
        return None
    several = len({line["task"] for line in lines}) > 1
    names: list[str] = []
    for line in sorted((line for line in lines if line["front"]), key=lambda line: (line["task"], line["x"])):
        line["label"] = str(len(names) + 1)
        names.append(f"{line['label']}  {line['method']}" + (f" ({line['task']})" if several else ""))
    fade = alt.condition("datum.front", alt.value(1), alt.value(0.35))
    base = alt.Chart(DataFrame(lines)).encode(
        x=alt.X("x:Q", title=title_of(x, columns), scale=alt.Scale(zero=False, padding=12)),
        y=alt.Y("y:Q", title=title_of(y, columns), scale=alt.Scale(zero=False, padding=12)),
        color=alt.Color("task:N", title=None) if several else alt.value("#0072B2"),
    )
    tips = ["method", "task", *(alt.Tooltip(name, format=".4g") for name in ("x", "y")), "front"]
    upright = base.mark_rule().encode(y="y_low:Q", y2="y_high:Q", opacity=fade)
    level = base.mark_rule().encode(x="x_low:Q", x2="x_high:Q", opacity=fade)
    dots = base.mark_point(filled=True, size=55).encode(opacity=fade, tooltip=tips)
    best = base.transform_filter("datum.front")
    stairs = best.mark_line(strokeDash=[4, 3], interpolate="step-after")  # along x less is better, always
    numbers = best.mark_text(align="left", baseline="bottom", dx=5, dy=-4, fontWeight="bold").encode(text="label:N")
    below = alt.Title(["Beaten by none in both:", *names], orient="bottom", anchor="start", offset=10)
    return alt.layer(upright, level, stairs, dots, numbers).properties(height=HEIGHT, title=below)
