"""How figures look: colours that colour-blind readers tell apart, letters that a column of a paper can hold."""

from __future__ import annotations

from typing import Any

#: Okabe and Ito's palette (2008) without its yellow and black, which one of the two themes swallows.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7A7A7A", "#8B5A2B")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
LETTERS = 9  # px of labels, which are pt in the PDF
COLUMN, PAGE = 252, 504  # px, and pt of the PDF: a column (3.5 in) and the width (7 in) of a page of two columns
IN_PAGE = 560  # px of a figure in the page
PPI = 300  # of the PNG files


def config(letters: int = LETTERS) -> dict[str, Any]:
    """Vega-Lite's configuration, for figures whose letters have so many px."""
    text = {"labelFontSize": letters, "titleFontSize": letters, "titleFontWeight": "normal", "labelLimit": 400}
    return {
        "font": "Liberation Sans, Arial, Helvetica, sans-serif",
        "background": "transparent",
        "view": {"stroke": None},
        "axis": text | {"gridOpacity": 0.45, "titleLimit": 400},
        "legend": text | {"symbolSize": 50, "orient": "bottom", "columns": 2, "symbolOpacity": 1},
        "title": {"fontSize": letters + 1, "fontWeight": "normal", "anchor": "start", "offset": 6},
        "text": {"fontSize": letters},
        "range": {"category": list(PALETTE), "symbol": list(SHAPES)},
    }


def sized(chart: Any, width: int, letters: int = LETTERS) -> dict[str, Any]:
    """The specification of a figure that is so many px wide, with axes and names."""
    spec: dict[str, Any] = chart.properties(width=width, autosize={"type": "fit-x", "contains": "padding"}).to_dict()
    spec["config"] = config(letters)
    return spec


def title_of(metric: str, columns: Any) -> str:
    """Name, unit and direction of a number."""
    column = columns[metric]
    return " ".join(filter(None, (column.line, column.unit and f"({column.unit})", column.arrow)))
