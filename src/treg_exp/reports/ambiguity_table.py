"""The score of the ambiguity benchmark for people: a table at the end of a run, and one of several runs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from treg_exp.reports.markdown import line, number

ROWS = {"own": "own text", "other": "another member's", "wrong": "unrelated text", "no_text": "no text"}
PICKED = {"own": "pick_own", "other": "pick_other", "wrong": "wrong_picked"}


def ambiguity_lines(score: Mapping[str, Any]) -> list[str]:
    """A table of the texts, and the result in sentences.

    Args:
        score: what `summarise_ambiguity` returned, or its block of ``summary.json``.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("text given")
    for heading in ("judge picks it %", "residual", "before projection", "variance / no text", "PSNR dB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for variant, label in ROWS.items():
        ratio = score["variance_ratio"].get(variant)
        table.add_row(
            label,
            _percent(score[PICKED[variant]]) if variant in PICKED else "",
            _told(score["residual"][variant], 2),
            _told(score["residual_before"][variant], 1),
            _told(ratio, 2) if ratio else "",
            _told(score["psnr"][variant], 1),
        )
    buffer = io.StringIO()
    Console(file=buffer, width=140, color_system=None, markup=False).print(table)
    lines = [f"Ambiguity: {_about(score)}", *(line.rstrip() for line in buffer.getvalue().splitlines())]
    left_out = f" {score['incomplete']} pictures lack a text and do not count." if score["incomplete"] else ""
    lines.append(f"[...]: 95 % over groups.{left_out}")
    if score["pick"] is None:
        return [*lines, "No judge has scored the texts: the run needs metrics=ambiguity."]
    lines.append(
        f"Own text picked without any text: {_percent(score['own_without_text'])} %. Unrelated text picked without any "
        f"text: {_percent(score['wrong_without_text'])} %, chance {100 * score['wrong_chance']:.0f} %. "
        f"The judge on the true pictures: {_percent(score['ceiling'])} %."
    )
    lines.append(
        f"The text that was given scores {_told(score['margin'], 3)} above those of the other members; "
        "of a deaf solver that is 0."
    )
    lines.append(
        f"The prompt picks its member of a group for {_percent(score['pick'])} % of the restorations; a solver that is "
        f"deaf to it gets {100 * score['chance']:.0f} %; the difference is {_percent(score['above_chance'])} points."
    )
    return lines


def markdown_table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per run, by name."""
    heads = (
        "run", "groups (pictures)", "sigma apart", "pick %", "deaf %", "difference", "margin",
        "judge on true pictures %", "own picked %",
        "other picked %", "own picked without text %", "residual own / other / unrelated",
        "variance with own text / without", "unrelated picked %", "PSNR gain of own text, dB",
    )  # fmt: skip
    lines = [line(heads), "|---" * len(heads) + "|"]
    for name, s in scores.items():
        residuals = " / ".join(_short(s["residual"][variant]) for variant in ("own", "other", "wrong"))
        cells = [
            name, f"{s['groups']} ({s['pictures']})", _short(s["apart_sigma"], 1), _percent(s["pick"]),
            f"{100 * s['chance']:.0f}", _percent(s["above_chance"]), _told(s["margin"], 3),
            _percent(s["ceiling"]), _percent(s["pick_own"]), _percent(s["pick_other"]),
            _percent(s["own_without_text"]), residuals, _told(s["variance_ratio"]["own"], 2),
            _percent(s["wrong_picked"]), _told(s["psnr_gain"], 2),
        ]  # fmt: skip
        lines.append(line(cells))
    return "\n".join(lines) + "\n"


def _about(score: Mapping[str, Any]) -> str:
    apart = score["apart_sigma"]
    near = "" if apart is None else f", measurements {apart['mean']:.1f} sigma apart"
    return f"{score['groups']} groups, {score['pictures']} pictures, {score['restorations']} restorations{near}"


def _percent(stats: Mapping[str, Any] | None) -> str:
    scaled = stats and {name: v if v is None else 100 * v for name, v in stats.items()}
    return _told(scaled, 0)


def _told(stats: Mapping[str, Any] | None, digits: int) -> str:
    if not stats:
        return "-"
    mean, low, high = (None if stats[k] is None else number(stats[k], digits) for k in ("mean", "low", "high"))
    return str(mean) if low is None or high is None else f"{mean} [{low}, {high}]"


def _short(stats: Mapping[str, Any] | None, digits: int = 2) -> str:
    return f"{stats['mean']:.{digits}f}" if stats else "-"
