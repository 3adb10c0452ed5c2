"""Cells and lines of tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float, digits: int) -> str:
    """A number without the sign of a zero that rounding made."""
    text = f"{value:.{digits}f}"
    return text if float(text) else text.lstrip("-")


def line(cells: Sequence[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(cells) + " |"
