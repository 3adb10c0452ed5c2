"""Numbers along what was varied, one line per level of a second factor: where lines are parallel nothing interacts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from treg_exp.findings.charts.style import title_of
from treg_exp.findings.factors import TEXT, Factor, cells, factors, pairs_of, readable_level
from treg_exp.findings.methods import Method
from treg_exp.metrics.column import Columns

HEIGHT = 240  # px
WIDE = 20.0  # largest over smallest value of a setting from which on its axis is logarithmic


def drawings(compared: Sequence[Method], metric: str, columns: Columns, most: int) -> dict[str, Any]:
    """Figures of one task by name: every pair of factors that cross, and numeric factors that cross with none."""
    found = factors(compared)
    pairs = pairs_of(found)[:most]
    drawn = {f"{one.name}_{two.name}": _chart(compared, metric, columns, one, two) for one, two in pairs}
    covered = {factor for pair in pairs for factor in pair[:1]}
    for factor in found:
        if factor.numeric and factor not in covered:
            drawn[factor.name] = _chart(compared, metric, columns, factor, None)
    return {name: chart for name, chart in drawn.items() if chart is not None}


def left_out(compared: Sequence[Method], most: int) -> list[str]:
    """Pairs of factors of one task that are not drawn, because there are so many."""
    return [f"{one.title} x {two.title}" for one, two in pairs_of(factors(compared))[most:]]


def _chart(compared: Sequence[Method], metric: str, columns: Columns, x: Factor, by: Factor | None) -> Any:
    import altair as alt
    from pandas import DataFrame

    lines = cells(compared, metric, x, by)
    if len({cell.x for cell in lines}) < 2:
        return None
    data = DataFrame(
        {
            "x": cell.x if x.numeric else readable_level(cell.x), "line": cell.line, "mean": cell.mean,
            "low": cell.low, "high": cell.high, "images": cell.n,
        }
        for cell in lines
    )  # fmt: skip
    levels = [readable_level(level) for level in (by.values if by else [])]
    # With the levels said in both, one legend serves colours and shapes.
    names = {"title": by.title if by and by.name != TEXT else None, "scale": alt.Scale(domain=levels)}
    colour: Any = alt.Color("line:N", **names) if by else alt.value("#0072B2")
    shape: Any = alt.Shape("line:N", **names) if by else alt.value("circle")
    base = alt.Chart(data).encode(x=_axis(x), color=colour)
    if by and not x.numeric:
        base = base.encode(xOffset=alt.XOffset("line:N", sort=levels, scale=alt.Scale(paddingOuter=1)))
    y = alt.Y("mean:Q", title=title_of(metric, columns), scale=alt.Scale(zero=False))
    tips = ["line", "x", *(alt.Tooltip(name, format=".4g") for name in ("mean", "low", "high", "images"))]
    ends = base.encode(y=alt.Y("low:Q", title=title_of(metric, columns), scale=alt.Scale(zero=False)), y2="high:Q")
    spread = ends.mark_area(opacity=0.13) if x.numeric else ends.mark_rule(strokeWidth=1.5)
    joined = base.mark_line(strokeWidth=1.5, opacity=1 if x.numeric else 0.6).encode(y=y)
    dots = base.mark_point(filled=True, size=45, opacity=1).encode(y=y, shape=shape, tooltip=tips)
    return alt.layer(spread, joined, dots).properties(height=HEIGHT)


def _axis(x: Factor) -> Any:
    import altair as alt

    title = x.title if x.name != TEXT else None
    if not x.numeric:
        levels = [readable_level(level) for level in x.values]
        return alt.X(
            "x:N", title=title, sort=levels, axis=alt.Axis(labelAngle=0 if max(map(len, levels)) < 10 else -25)
        )
    positive = x.values[0] > 0
    logarithmic = positive and x.values[-1] / x.values[0] >= WIDE
    scale = alt.Scale(type="log" if logarithmic else "linear", zero=False, nice=False, padding=8)
    return alt.X("x:Q", title=title, scale=scale, axis=alt.Axis(values=x.values, format="~g", labelOverlap="greedy"))
