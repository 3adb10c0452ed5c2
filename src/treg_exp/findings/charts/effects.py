"""Differences from the baseline with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from treg_exp.findings.charts.style import title_of
from treg_exp.findings.effects import Effect
from treg_exp.metrics.column import Columns

LINE = 18  # px of a method
#: A name on as many lines as it has parts, see `Method.name`.
BROKEN = "split(datum.label, ', ')"


def forest(found: Sequence[Effect], metric: str, columns: Columns) -> Any:
    """One line per method: the mean of the differences, and its 95 % interval; None without any interval."""
    import altair as alt
    from pandas import DataFrame

    lines = [effect for effect in found if effect.metric == metric and effect.low is not None]
    if not lines:
        return None
    data = DataFrame(
        {
            "method": e.method.name, "task": e.method.task, "difference": e.mean, "low": e.low, "high": e.high,
            "g": e.size, "q": e.q,
        }
        for e in lines
    )  # fmt: skip
    names = list(dict.fromkeys(data["method"]))
    parts = max(name.count(", ") + 1 for name in names)
    several = data["task"].nunique() > 1
    axis = alt.Axis(labelExpr=BROKEN, labelLineHeight=10)
    y = alt.Y("method:N", sort=names, title=None, axis=axis)
    by = {"title": None, "scale": alt.Scale(domain=list(dict.fromkeys(data["task"])))}
    colour: Any = alt.Color("task:N", **by) if several else alt.value("#0072B2")
    shape: Any = alt.Shape("task:N", **by) if several else alt.value("circle")
    apart = {"yOffset": alt.YOffset("task:N")} if several else {}
    base = alt.Chart(data).encode(y=y, color=colour, **apart)
    tips = ["method", "task", *(alt.Tooltip(name, format=".4g") for name in ("difference", "low", "high", "g", "q"))]
    title = f"{title_of(metric, columns)}: difference from the baseline"
    bars = base.mark_rule(strokeWidth=1.6).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    dots = base.mark_point(filled=True, size=45, opacity=1).encode(x="difference:Q", tooltip=tips, shape=shape)
    zero = alt.Chart(DataFrame({"x": [0]})).mark_rule(strokeDash=[4, 4], color="#7A7A7A").encode(x="x:Q")
    tasks = data["task"].nunique() if several else 1
    # In px: of a height by steps Vega-Lite says for each figure that it cannot be fitted.
    height = len(names) * max(LINE, 11 * parts + 4, 9 * tasks)
    return alt.layer(zero, bars, dots).properties(height=height)
