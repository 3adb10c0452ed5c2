"""The report as one HTML file that needs no network and opens from the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from treg_exp.shipped import ASSETS

if TYPE_CHECKING:
    from pandas import DataFrame

LONG, FEW = 25, 3  # lines of a table: from more on it has pages, and filters
#: Cells such as "18.2 [17.3, 19.4]" are sorted by their first number.
_BY_NUMBER = (
    "function (data, type) { const number = parseFloat(data); "
    "return (type === 'sort' || type === 'type') && !isNaN(number) ? number : data; }"
)


def render_page(
    title: str,
    overview: str,
    notes: Sequence[str],
    means: Mapping[str, DataFrame],
    differences: DataFrame,
    about_differences: str,
    charts: Mapping[str, Any],
    pictures: Mapping[str, Any],
    rows: DataFrame,
    settings: DataFrame,
    environments: DataFrame,
) -> str:
    """The page.

    Args:
        title: heading.
        overview: what is compared, in a sentence.
        notes: what a reader should know.
        means: table of the means, by task.
        differences: table of the effects; empty where there are none.
        about_differences: how they were made.
        charts: Altair charts by name.
        pictures: see `gather`.
        rows: every restoration.
        settings: what differs between the runs.
        environments: machines and versions.
    """
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    folder = ASSETS / "report"
    environment = Environment(loader=FileSystemLoader(folder), autoescape=True)
    ids = ("overview", "differences", "figures", "pictures", "restorations", "settings")
    empty = {"differences": differences.empty, "figures": not charts}
    return environment.get_template("page.html").render(
        title=title,
        overview=overview,
        notes=notes,
        sections=[name for name in ids if not empty.get(name)],
        means=[(task, Markup(_table(frame, f"means-{i}"))) for i, (task, frame) in enumerate(means.items())],
        differences="" if differences.empty else Markup(_table(differences, "effects")),
        about_differences=about_differences,
        charts=list(charts.items()),
        specs=Markup(_json({name: chart.to_dict() for name, chart in charts.items()})),
        pictures=Markup(_json(pictures)),
        rows=Markup(_table(rows, "rows")),
        settings=Markup(_table(settings, "settings-table")),
        environments=Markup(_table(environments, "environments")),
        css=Markup((folder / "page.css").read_text(encoding="utf-8")),
        script=Markup((folder / "page.js").read_text(encoding="utf-8")),
        vega=Markup(_vega()),
        tables=Markup(_table_library()),
    )  # fmt: skip


def _table(frame: DataFrame, name: str) -> str:
    """A table that sorts and filters."""
    import itables
    from itables import JavascriptFunction

    long, by_number = len(frame) > LONG, JavascriptFunction(_BY_NUMBER)
    layout = {"topStart": "pageLength" if long else None, "topEnd": "search" if long else None}
    table: str = itables.to_html_datatable(
        frame, table_id=name, connected=False, showIndex=False, paging=long, pageLength=LONG, layout=layout,
        classes="display compact nowrap", column_filters="header" if len(frame) > FEW else False, maxBytes=0,
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
