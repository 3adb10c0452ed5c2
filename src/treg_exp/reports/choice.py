"""How often a restoration shows the text that was given, by the judge, from the rows of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from treg_exp.metrics.column import MATCH, SCORE
from treg_exp.reports.columns import variant_label
from treg_exp.reports.summary import statistics
from treg_exp.run_layout import Row

CONFIDENCE = 0.95


def scores(row: Mapping[str, Any]) -> dict[str, float]:
    """The judge's score of a restoration for the text of every variant that has one."""
    return {n.removeprefix(SCORE): v for n, v in row.items() if n.startswith(SCORE) and v is not None}


def picked(row: Mapping[str, Any]) -> str | None:
    """The variant whose text the judge picks for a restoration, None where it was not asked."""
    return max(found, key=found.__getitem__) if (found := scores(row)) else None


def summarise_choice(rows: Iterable[Row]) -> dict[str, Any] | None:
    """What the judge picked in a run, ready for ``summary.json``; None where it was not asked.

    Restorations of one image and draw share their random numbers, so they are averaged, and intervals resample those
    averages: they say what other random numbers would change, not what other images would (those of a gallery are
    chosen by hand, no sample of anything).

    Args:
        rows: of a run, each with the columns of ``TextChoice``.

    Returns:
        ``matches``, ``asked`` (numbers of restorations), ``rate`` and ``paired`` (mean, low, high, n), ``chance``, and
        ``tasks``: name -> [matches, asked]. ``paired`` is the score of a text on its own picture minus the mean of its
        scores on the pictures of the other texts.
    """
    asked = [row for row in rows if row.get(MATCH) is not None]
    if not asked:
        return None
    tasks: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in asked:
        tasks[row.get("task", "")][0] += int(row[MATCH])
        tasks[row.get("task", "")][1] += 1
    together: dict[tuple[str, int], dict[str, Row]] = defaultdict(dict)
    for row in asked:
        together[row["sample_id"], int(row["draw"])][row["variant"]] = row
    rates = [sum(row[MATCH] for row in group.values()) / len(group) for group in together.values()]
    gaps = [gap for group in together.values() if (gap := _gap(group)) is not None]
    return {
        "matches": sum(matches for matches, _ in tasks.values()),
        "asked": len(asked),
        "chance": sum(1 / len(scores(row)) for row in asked) / len(asked),
        "rate": _rate(rates),
        "paired": statistics(gaps) if gaps else None,
        "tasks": {name: list(counts) for name, counts in tasks.items()},
    }


def _gap(group: Mapping[str, Row]) -> float | None:
    """Mean over texts of the score of a text on its own picture minus that on the others' pictures."""
    found = []
    for variant, row in group.items():
        others = [scores(other)[variant] for name, other in group.items() if name != variant]
        if others:
            found.append(scores(row)[variant] - sum(others) / len(others))
    return sum(found) / len(found) if found else None


def _rate(rates: Sequence[float]) -> dict[str, Any]:
    """Statistics of rates; where all are 1 a bootstrap has nothing to vary, and the exact binomial bound is the low."""
    result: dict[str, Any] = dict(statistics(rates))
    if len(rates) > 1 and min(rates) == 1:
        result["low"] = ((1 - CONFIDENCE) / 2) ** (1 / len(rates))
    return result


def choice_lines(choice: Mapping[str, Any]) -> list[str]:
    """What ``summarise_choice`` found, in sentences; the last one is the result."""
    lines = []
    if len(choice["tasks"]) > 1:
        told = [f"{variant_label(name)} {hits} of {count}" for name, (hits, count) in choice["tasks"].items()]
        lines.append(f"By task: {', '.join(told)}.")
    if (gap := choice["paired"]) is not None and gap["low"] is not None:
        lines.append(
            f"A text fits its own picture better than the pictures of the other texts: "
            f"{gap['mean']:+.3f} [{gap['low']:.3f}, {gap['high']:.3f}] in the judge's cosine."
        )
    rate = choice["rate"]
    interval = "" if rate["low"] is None else f" [{100 * rate['low']:.0f}, {100 * rate['high']:.0f}]"
    lines.append(
        f"The judge picks the text that was given for {choice['matches']} of {choice['asked']} restorations: "
        f"{100 * choice['matches'] / choice['asked']:.0f} %{interval}, chance {100 * choice['chance']:.0f} %."
    )
    return lines
