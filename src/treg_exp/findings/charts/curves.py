"""What happened on the way: numbers of the steps of a few samples, one line per method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from treg_exp.findings.methods import Method
from treg_exp.reports.trajectory import CURVES, Trajectory, read_trajectory
from treg_exp.run_layout import key_of

HEIGHT = 240  # px
MOST_LINES = 24  # methods; of more the first ones
WIDE = 100.0  # largest over smallest value from which on the axis is logarithmic

#: Trajectories by sample and method.
Recorded = Mapping[str, Mapping[str, Trajectory]]


def recorded(compared: Sequence[Method]) -> dict[str, dict[str, Trajectory]]:
    """The trajectories of these methods; of several seeds the first one that has it."""
    found: dict[str, dict[str, Trajectory]] = {}
    for method in compared:
        for sample, rows in method.images.items():
            for run, row in rows:
                if trajectory := read_trajectory(run.path, key_of(row)):
                    found.setdefault(sample, {}).setdefault(method.name, trajectory)
                    break
    return found


def drawings(found: Recorded) -> dict[str, Any]:
    """A figure for every number that was recorded; in the page the sample can be chosen."""
    drawn = {column: _chart(found, column, title) for column, title in CURVES.items()}
    return {column: chart for column, chart in drawn.items() if chart is not None}


def _chart(found: Recorded, column: str, title: str) -> Any:
    import altair as alt
    from pandas import DataFrame

    lines = [
        {"sample": sample, "method": method, "step": step + 1, "share": (step + 1) / trajectory.steps, "value": value}
        for sample, of_methods in found.items()
        for method, trajectory in list(of_methods.items())[:MOST_LINES]
        for step, value in zip(*trajectory.curve(column), strict=True)
    ]
    if not lines:
        return None
    data = DataFrame(lines)
    names = list(dict.fromkeys(data["method"]))
    values = data["value"]
    wide = values.min() > 0 and values.max() / values.min() >= WIDE
    samples = list(dict.fromkeys(data["sample"]))
    chosen = alt.param(f"sample_{column}", value=samples[0], bind=alt.binding_select(options=samples, name="sample "))
    tips = ["sample", "method", "step", alt.Tooltip("value", format=".4g")]
    by = {"title": None, "scale": alt.Scale(domain=names)}
    base = alt.Chart(data).transform_filter(f"datum.sample == sample_{column}")
    return (
        base.mark_line(strokeWidth=1.5, point=alt.OverlayMarkDef(size=22, filled=True))
        .encode(
            x=alt.X("share:Q", title="share of the steps", axis=alt.Axis(format="%")),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(type="log" if wide else "linear", zero=False)),
            color=alt.Color("method:N", **by),
            strokeDash=alt.StrokeDash("method:N", **by),
            tooltip=tips,
        )
        .add_params(chosen)
        .properties(height=HEIGHT)
    )
