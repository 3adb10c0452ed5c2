"""The grid of a run with several tasks, where the judge chose among the texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from tests.reports.columns import COLUMNS
from treg_exp.reports.grid import CELL, RIGHT, WRONG, judged, write_grid
from treg_exp.signals.image import save_png

VARIANTS = ("no_text", "own", "other", "absent")


def row(sample: str, variant: str, draw: int, own: float, other: float, **more: Any) -> dict[str, Any]:
    match = None if variant == "no_text" else float((own > other) == (variant == "own"))
    scores = {"judge_match": match, "judge_of_own": own, "judge_of_other": other}
    prompt = {"no_text": "", "own": "red heart", "other": "blue heart"}[variant]
    return {"sample_id": sample, "variant": variant, "draw": draw, "prompt": prompt, "residual": 1.0, **scores, **more}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    COLUMNS.write(tmp_path / "columns.json")
    for sample in ("a", "b"):
        for name in ("target", "measurement", "pseudo_inverse"):
            save_png(torch.zeros(3, 64, 64), tmp_path / "samples" / sample / f"{name}.png")
        for variant in VARIANTS[:3]:
            for draw in range(2):
                folder = tmp_path / "samples" / sample / variant / f"draw_{draw:03d}"
                save_png(torch.zeros(3, 64, 64), folder / "reconstruction.png")
    return tmp_path


def size_and_colours(run: Path, rows: list[dict[str, Any]]) -> tuple[tuple[int, int], set[str]]:
    image = Image.open(write_grid(run, VARIANTS, run / "grid.png", rows=rows))
    pixels = {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}
    return image.size, {name for name in (RIGHT, WRONG) if ImageColor.getrgb(name) in pixels}


def test_verdicts_have_a_sign_and_a_colour(run: Path) -> None:
    """Of the first draw; red where the judge takes the picture for another text."""
    right = [row("a", "no_text", 0, 0.1, 0.2), row("a", "own", 0, 0.9, 0.1), row("a", "own", 1, 0.1, 0.9)]
    assert size_and_colours(run, right)[1] == {RIGHT}
    assert size_and_colours(run, [*right, row("a", "other", 0, 0.9, 0.1)])[1] == {RIGHT, WRONG}
    assert size_and_colours(run, right[:1])[1] == set()


def test_a_verdict_names_the_text_that_was_picked() -> None:
    found = {name: [row("a", name, 0, 0.9, 0.1)] for name in VARIANTS[:3]}
    assert judged(found, "no_text") == ("judge: red heart", None)
    assert judged(found, "own") == ("judge: red heart", True)
    assert judged(found, "other") == ("judge: red heart", False)
    alone = {"own": [row("a", "own", 0, 0.1, 0.9)]}
    assert judged(alone, "own") == ("judge: other", False)
    assert judged({"own": [{"prompt": "x"}]}, "own") == ("", None)


def test_a_variant_without_any_result_has_no_column(run: Path) -> None:
    rows = [row(sample, "own", 0, 0.9, 0.1) for sample in ("a", "b")]
    narrow, _ = size_and_colours(run, rows)
    wide, _ = size_and_colours(run, [*rows, row("a", "other", 0, 0.1, 0.9)])
    assert CELL < wide[0] - narrow[0] < 1.1 * CELL


def test_each_task_has_a_heading_and_no_pseudo_inverse(run: Path) -> None:
    alone, _ = size_and_colours(run, [row(sample, "own", 0, 0.9, 0.1) for sample in ("a", "b")])
    one, _ = size_and_colours(run, [row(sample, "own", 0, 0.9, 0.1, task="colour") for sample in ("a", "b")])
    rows = [row(sample, "own", 0, 0.9, 0.1, task=task) for sample, task in (("a", "colour"), ("b", "detail"))]
    two, _ = size_and_colours(run, rows)
    assert CELL < alone[0] - one[0] < 1.1 * CELL
    assert two[1] - one[1] == one[1] - alone[1] > 0
