"""The report as one HTML file that needs no network and opens from the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from treg_exp.findings.charts.drawing import Figure
from treg_exp.shipped import ASSETS

if TYPE_CHECKING:
    from pandas import DataFrame

LONG, FEW = 25, 3  # lines of a table: from more on it has pages, and filters
#: Cells such as "18.2 [17.3, 19.4]" are sorted by their first number.
_BY_NUMBER = (
    "function (data, type) { const number = parseFloat(data); "
    "return (type === 'sort' || type === 'type') && !isNaN(number) ? number : data; }"
)


@dataclass(frozen=True)
class Content:
    """What the page says.

    Attributes:
        title: heading.
        overview: what is compared, in a sentence.
        notes: what a reader should know.
        means: table of the means, by task.
        differences: table of the effects; empty where there are none.
        about_differences: how they were made.
        footnote: what a mark in the headings of both tables means; may be empty.
        headings: what numbers are called, by name.
        seeds: how much means depend on the seed; may be empty.
        sets: numbers of sets of restorations; may be empty.
        figures: by name.
        pictures: see `gather`.
        rows: every restoration.
        settings: what differs between the runs.
        environments: machines and versions.
        fingerprints: hashes of settings, weights and measurements.
        about_fingerprints: which of them agree.
    """

    title: str
    overview: str
    notes: Sequence[str]
    means: Mapping[str, DataFrame]
    differences: DataFrame
    about_differences: str
    footnote: str
    headings: Mapping[str, str]
    seeds: DataFrame
    sets: DataFrame
    figures: Mapping[str, Figure]
    pictures: Mapping[str, Any]
    rows: DataFrame
    settings: DataFrame
    environments: DataFrame
    fingerprints: DataFrame
    about_fingerprints: Sequence[str]


def render_page(content: Content) -> str:
    """The page."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    folder = ASSETS / "report"
    environment = Environment(loader=FileSystemLoader(folder), autoescape=True)
    curves = {name: figure for name, figure in content.figures.items() if figure.of_steps}
    charts = {name: figure for name, figure in content.figures.items() if not figure.of_steps}
    ids = {
        "overview": True, "differences": not content.differences.empty, "seeds": not content.seeds.empty,
        "sets": not content.sets.empty, "figures": bool(charts), "pictures": True, "trajectories": bool(curves),
        "restorations": True, "settings": True,
    }  # fmt: skip
    frames = ("differences", "seeds", "sets", "rows", "settings", "environments", "fingerprints")
    return environment.get_template("page.html").render(
        title=content.title,
        overview=content.overview,
        notes=content.notes,
        sections=[name for name, there in ids.items() if there],
        means=[(task, Markup(_table(frame, f"means-{i}"))) for i, (task, frame) in enumerate(content.means.items())],
        frames={name: Markup(_table(getattr(content, name), f"table-{name}")) for name in frames},
        about_differences=content.about_differences,
        footnote=content.footnote,
        about_fingerprints=content.about_fingerprints,
        groups=[
            [(name, figure.metric) for name, figure in charts.items() if figure.flat is flat] for flat in (True, False)
        ],
        metrics={figure.metric: content.headings.get(figure.metric, figure.metric) for figure in charts.values()},
        curves=list(curves),
        specs=Markup(_json({name: figure.in_page() for name, figure in content.figures.items()})),
        pictures=Markup(_json(content.pictures)),
        css=Markup((folder / "page.css").read_text(encoding="utf-8")),
        script=Markup((folder / "page.js").read_text(encoding="utf-8")),
        vega=Markup(_vega() if content.figures else "const vegaEmbed = null;"),
        tables=Markup(_table_library()),
    )  # fmt: skip


def _table(frame: DataFrame, name: str) -> str:
    """A table that sorts and filters."""
    import itables
    from itables import JavascriptFunction

    long, by_number = len(frame) > LONG, JavascriptFunction(_BY_NUMBER)
    bottom = {} if long else {"bottomStart": None, "bottomEnd": None}
    layout = {"topStart": "pageLength" if long else None, "topEnd": "search" if long else None, **bottom}
    table: str = itables.to_html_datatable(
        frame, table_id=name, connected=False, showIndex=False, paging=long, pageLength=LONG, layout=layout,
        classes="display compact nowrap", column_filters="footer" if len(frame) > FEW else False, maxBytes=0,
        display_logo_when_loading=False, order=[], columnDefs=[{"targets": "_all", "render": by_number}],
    )  # fmt: skip
    return table


def _table_library() -> str:
    import itables.options
    from itables.javascript import generate_init_offline_itables_html

    loaded: str = generate_init_offline_itables_html(itables.options.dt_bundle)
    return loaded


def _vega() -> str:
    import vl_convert

    bundled: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundled


def _json(value: Any) -> str:
    """JSON that may stand in a script of a page."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
