"""The figures of a report, drawn once with Altair: interactive in the page, PNG and PDF for papers and talks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from treg_exp.files import write_bytes
from treg_exp.findings.collection import differing
from treg_exp.findings.effects import Effect
from treg_exp.findings.methods import Method
from treg_exp.metrics.column import Columns
from treg_exp.reports.summary import by_image, statistics

if TYPE_CHECKING:
    from pandas import DataFrame

PPI = 200  # of the PNG files
WIDTH = 380  # of a chart, in CSS pixels
ALIGNMENT = ("judge_own", "align_own", "judge_match")
QUALITY = ("lpips", "psnr", "ssim", "si_sdr")
NUMERIC_VALUES = 3  # different ones of a setting from which on a line is drawn through them


def forest(found: Sequence[Effect], metric: str, columns: Columns) -> Any:
    """Differences from the baseline with their intervals, one line per method."""
    import altair as alt
    from pandas import DataFrame

    lines = [effect for effect in found if effect.metric == metric and effect.low is not None]
    if not lines:
        return None
    data = DataFrame(
        {"method": e.method.name, "task": e.method.task, "difference": e.mean, "low": e.low, "high": e.high, "q": e.q}
        for e in lines
    )
    base = alt.Chart(data).encode(y=alt.Y("method:N", sort=None, title=None, axis=alt.Axis(labelLimit=360)))
    title = f"{columns[metric].line} {columns[metric].arrow}: difference from the baseline"
    tips = ["method", "task", "difference", "low", "high", "q"]
    tooltips = [alt.Tooltip(name, format=".4g") if name not in ("method", "task") else name for name in tips]
    bars = base.mark_rule().encode(x=alt.X("low:Q", title=title), x2="high:Q", color="task:N")
    dots = base.mark_point(filled=True, size=60).encode(x="difference:Q", color="task:N", tooltip=tooltips)
    zero = alt.Chart(DataFrame({"x": [0]})).mark_rule(strokeDash=[4, 4], opacity=0.6).encode(x="x:Q")
    several = data["task"].nunique() > 1
    layers = alt.layer(zero, bars, dots).properties(width=WIDTH)
    return layers if several else layers.encode(color=alt.value("#4c78a8"))


def front(compared: Sequence[Method], x: str, y: str, columns: Columns) -> Any:
    """Two numbers against each other with their intervals, and the methods that no other one beats in both."""
    import altair as alt

    data = _points(compared, x, y, columns)
    if data is None:
        return None
    tips = ["method", "task", *(alt.Tooltip(name, format=".4g") for name in ("x", "y")), "best"]
    base = alt.Chart(data).encode(
        x=alt.X("x:Q", title=_title(x, columns), scale=alt.Scale(zero=False)),
        y=alt.Y("y:Q", title=_title(y, columns), scale=alt.Scale(zero=False)),
        color=alt.Color("task:N"),
    )
    rule = base.mark_rule(opacity=0.5)
    bars = rule.encode(y="y_low:Q", y2="y_high:Q") + rule.encode(x="x_low:Q", x2="x_high:Q")
    dots = base.mark_point(filled=True, size=70).encode(tooltip=tips, shape=alt.Shape("best:N", title="beaten by none"))
    line = base.transform_filter("datum.best").mark_line(strokeDash=[4, 3], opacity=0.6)
    return (bars + line + dots).properties(width=WIDTH, height=300).interactive()


def interaction(compared: Sequence[Method], metric: str, columns: Columns) -> Any:
    """A number against a setting that takes several values, one line per value of a second one or of the text."""
    import altair as alt
    from pandas import DataFrame

    runs = [method.runs[0] for method in compared]
    numeric = [key for key in differing(runs) if _numeric(key, compared)]
    if not numeric or len({method.settings.get(numeric[0]) for method in compared}) < NUMERIC_VALUES:
        return None
    along, second = numeric[0], next((key for key in numeric[1:]), None)
    lines = []
    for method in compared:
        if values := list(by_image(method.rows, metric).values()):
            number = statistics(values)
            by = f"{second}={method.settings.get(second)}" if second else method.variant
            lines.append({**number, "x": method.settings.get(along), "by": f"{method.task}, {by}"})
    if not lines:
        return None
    x = alt.X("x:Q", title=along, scale=alt.Scale(zero=False))
    base = alt.Chart(DataFrame(lines)).encode(x=x, color=alt.Color("by:N", title=None))
    mean = alt.Y("mean:Q", title=_title(metric, columns), scale=alt.Scale(zero=False))
    band = base.mark_area(opacity=0.15).encode(y="low:Q", y2="high:Q")
    tips = ["by", "x", alt.Tooltip("mean", format=".4g")]
    return (band + base.mark_line(point=True).encode(y=mean, tooltip=tips)).properties(width=WIDTH, height=260)


def charts(
    compared: Sequence[Method], found: Sequence[Effect], metrics: Sequence[str], columns: Columns
) -> dict[str, Any]:
    """All figures that these methods have, by name."""
    drawn: dict[str, Any] = {}
    shown = [name for name in metrics if columns[name].in_table != "never"]
    directed = [name for name in shown if columns[name].higher_is_better is not None]
    for metric in directed:
        drawn[f"effect_{metric}"] = forest(found, metric, columns)
    alignment = next((name for name in ALIGNMENT if name in metrics), None)
    quality = next((name for name in QUALITY if name in metrics), None)
    if alignment and "residual" in metrics:
        drawn["front_alignment_residual"] = front(compared, "residual", alignment, columns)
    if quality and "seconds" in metrics:
        drawn["front_quality_seconds"] = front(compared, "seconds", quality, columns)
    for metric in directed:
        drawn[f"setting_{metric}"] = interaction(compared, metric, columns)
    return {name: chart for name, chart in drawn.items() if chart is not None}


def save(drawn: dict[str, Any], folder: Path) -> list[Path]:
    """Write every figure as PNG and PDF."""
    import vl_convert

    written = []
    for name, chart in drawn.items():
        spec = chart.to_json()
        written.append(write_bytes(folder / f"{name}.png", vl_convert.vegalite_to_png(spec, ppi=PPI)))
        written.append(write_bytes(folder / f"{name}.pdf", vl_convert.vegalite_to_pdf(spec)))
    return written


def _points(compared: Sequence[Method], x: str, y: str, columns: Columns) -> DataFrame | None:
    from pandas import DataFrame

    lines = []
    for method in compared:
        values = [list(by_image(method.rows, name).values()) for name in (x, y)]
        if all(values):
            horizontal, vertical = map(statistics, values)
            lines.append({
                "method": method.name, "task": method.task,
                **{f"x{end}": horizontal[key] for end, key in (("", "mean"), ("_low", "low"), ("_high", "high"))},
                **{f"y{end}": vertical[key] for end, key in (("", "mean"), ("_low", "low"), ("_high", "high"))},
            })  # fmt: skip
    signs = [_sign(name, columns) for name in (x, y)]
    for line in lines:
        rivals = [other for other in lines if other["task"] == line["task"] and other is not line]
        line["best"] = not any(_beats(other, line, signs) for other in rivals)
    return DataFrame(lines) if len(lines) > 1 else None


def _beats(one: dict[str, Any], other: dict[str, Any], signs: Sequence[int]) -> bool:
    gains = [sign * (one[name] - other[name]) for name, sign in zip(("x", "y"), signs, strict=True)]
    return bool(min(gains) >= 0 and max(gains) > 0)


def _sign(metric: str, columns: Columns) -> int:
    return 1 if columns[metric].higher_is_better else -1  # a cost has no direction: less is better


def _title(metric: str, columns: Columns) -> str:
    column = columns[metric]
    return " ".join(filter(None, (column.line, column.unit, column.arrow)))


def _numeric(key: str, compared: Sequence[Method]) -> bool:
    values = [method.settings.get(key) for method in compared]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
