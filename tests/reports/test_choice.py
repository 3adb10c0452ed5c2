"""How often the picture shows the text that was given, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from treg_exp.reports.choice import choice_lines, picked, summarise_choice


def row(sample: str, variant: str, own: float, other: float, draw: int = 0, **more: Any) -> dict[str, Any]:
    match = None if variant == "no_text" else float((own > other) == (variant == "own"))
    scores = {"judge_of_own": own, "judge_of_other": other}
    return {"sample_id": sample, "variant": variant, "draw": draw, "judge_match": match, **scores, **more}


ROWS = [
    row("a", "no_text", 0.1, 0.2, task="colour"),
    row("a", "own", 0.5, 0.1, task="colour"),
    row("a", "other", 0.2, 0.6, task="colour"),
    row("b", "own", 0.4, 0.2, task="detail"),
    row("b", "other", 0.4, 0.3, task="detail"),  # shows the own text, whatever was said
]


def test_counts_rates_and_gaps() -> None:
    found = summarise_choice(ROWS)
    assert found is not None
    assert (found["matches"], found["asked"], found["chance"]) == (3, 4, 0.5)
    assert found["tasks"] == {"colour": [2, 2], "detail": [1, 2]}
    assert found["rate"]["mean"] == 0.75
    assert found["rate"]["n"] == 2
    # a: (0.5 - 0.2 + 0.6 - 0.1) / 2, b: (0.4 - 0.4 + 0.3 - 0.2) / 2
    assert found["paired"]["mean"] == pytest.approx((0.4 + 0.05) / 2)
    assert [picked(r) for r in ROWS] == ["other", "own", "other", "own", "own"]


def test_the_last_line_is_the_result() -> None:
    lines = choice_lines(summarise_choice(ROWS) or {})
    assert lines[0] == "By task: colour 2 of 2, detail 1 of 2."
    assert "+0.225 [0.050, 0.400]" in lines[1]
    start = "The judge picks the text that was given for 3 of 4 restorations: 75 % [50, 100], chance 50 %."
    assert lines[2] == start


def test_all_right_is_no_certainty() -> None:
    """Of n independent draws that all agree, the exact 95 % bound of the rate is 0.025^(1/n)."""
    rows = [row("a", name, *pair, draw=d) for d in range(10) for name, pair in (("own", (1, 0)), ("other", (0, 1)))]
    found = summarise_choice(rows)
    assert found is not None
    assert (found["rate"]["mean"], found["rate"]["low"]) == (1, pytest.approx(0.6915, abs=1e-4))


def test_one_draw_has_no_interval() -> None:
    lines = choice_lines(summarise_choice(ROWS[1:3]) or {})
    assert lines == ["The judge picks the text that was given for 2 of 2 restorations: 100 %, chance 50 %."]


def test_nothing_was_asked() -> None:
    assert summarise_choice([{"sample_id": "a", "variant": "own", "draw": 0, "psnr": 20.0}]) is None
    assert picked({"psnr": 20.0}) is None
