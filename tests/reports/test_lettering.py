"""Text of pictures: any script has letters, lines break where they may, nothing is lost without dots."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, features

from treg_exp.reports import lettering
from treg_exp.reports.grid import CELL, Panel, compose
from treg_exp.reports.lettering import MISSING, draw, runs, shorten, width, wrap

TEXTS = {
    "Chinese": "红色的苹果在桌子上",
    "Japanese": "赤いりんごとネコ",
    "Korean": "빨간 사과와 고양이",
    "Arabic": "تفاحة حمراء على الطاولة",
    "Hebrew": "תפוח אדום",
    "Russian": "красное яблоко",
    "Greek": "κόκκινο μήλο",
    "Hindi": "लाल सेब",
    "Thai": "แอปเปิลสีแดง",
    "Vietnamese": "quả táo đỏ",
    "signs": "σ = 0.05 – “grün” ≥ ± × ✓",
}


def drawn(text: str, size: int = 24) -> np.ndarray:
    canvas = Image.new("L", (640, 40), "white")
    draw(canvas, (4, 4), text, size, "black")
    return np.asarray(canvas)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_script_has_letters(text: str) -> None:
    assert "".join(part for _, part in runs(text)) == text
    inked = np.flatnonzero((drawn(text) < 128).any(axis=0))
    assert width(text, 24) * 0.9 < inked[-1] - inked[0] < width(text, 24) * 1.1
    assert not np.array_equal(drawn(text), drawn(text[::-1]))  # letters, not boxes


def test_a_line_has_one_font_where_one_has_it_all() -> None:
    assert runs("red apple") == (("", "red apple"),)
    assert [name for name, _ in runs(TEXTS["signs"])] == ["DejaVuSans.ttf"]
    assert runs("red 苹果") == (("", "red "), ("DroidSansFallback.ttf", "苹果"))
    assert [part for _, part in runs("苹果 ≥ red")] == ["苹果 ", "≥ red"]


def test_what_no_font_has_is_shown_as_missing() -> None:
    assert runs("ಕ")[0][1] == MISSING
    assert "".join(part for _, part in runs("🍎 a\nb")) == "[red apple] a b"
    assert runs("e\u0301")[0][1] == "é"
    assert runs("") == ()


@pytest.mark.skipif(not features.check("raqm"), reason="this Pillow cannot join letters")
def test_arabic_is_joined_and_runs_from_right_to_left() -> None:
    word = "تفاحة"
    assert width(word, 24) < 0.9 * sum(width(letter, 24) for letter in word)
    marked = drawn(f"{word} {word} |")  # the mark comes last, so it stands at the left
    heights = (marked < 128).sum(axis=0)
    inked = np.flatnonzero(heights)
    assert heights[inked[:3]].max() > 1.5 * heights[inked[-3:]].max()


def test_lines_break_at_spaces_and_inside_scripts_without_them() -> None:
    assert wrap("a cat", 15, CELL, 2) == ["a cat"]
    assert wrap("", 15, CELL) == []
    for text in (*TEXTS.values(), "a long title about a grey cat that sleeps on a red sofa", "x" * 200):
        text = " ".join([text] * 6)
        lines = wrap(text, 15, CELL)
        assert len(lines) > 1
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        assert all(width(line, 15) <= CELL for line in lines)
        two = wrap(text, 15, CELL, 2)
        assert two == (lines if len(lines) <= 2 else [lines[0], two[1]])
        assert len(lines) <= 2 or two[1].endswith("...")
        assert all(width(line, 15) <= CELL for line in two)
    assert shorten("a cat", 15, CELL) == "a cat"


def test_a_very_long_text_is_not_measured_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cost would grow with the square of its length: minutes for a word of some thousand letters."""
    measured: list[str] = []
    monkeypatch.setattr(lettering, "width", lambda text, size: measured.append(text) or width(text, size))
    for text in ("a1" * 2000, "word " * 800):
        assert wrap(text, 15, CELL, 2)[1].endswith("...")
        assert width(shorten(text, 15, CELL), 15) > 0.9 * CELL
    assert len(measured) < 200


def test_long_titles_headings_and_numbers_take_more_lines(tmp_path) -> None:
    """Nothing is cut, and nothing else moves."""
    numbers = ", ".join(f"figure {i} 0.123" for i in range(6))

    def picture(title: str, heading: str, numbers: str = "", task: str = "") -> np.ndarray:
        panel = Panel(tmp_path / "none.png", "a cat", numbers)
        return np.asarray(compose([[panel, panel]], [heading, "own"], 1, title, [task]).convert("L"))

    short = picture("title", "own")
    titled = picture("a title that is far too long for a picture of two columns, as titles are", "own")
    assert (titled.shape[0] - short.shape[0], titled.shape[1]) == (34, short.shape[1])
    assert np.array_equal(titled[-200:], short[-200:])
    headed = picture("title", "a heading that is wider than its column")
    assert headed.shape[0] - short.shape[0] == 23
    assert np.array_equal(headed[-200:], short[-200:])
    assert (headed[:, 232:260] == short[0, 0]).all(axis=1)[:100].all()  # no letter reaches into the gap
    assert picture("title", "own", numbers).shape[0] - short.shape[0] == 18 * (len(wrap(numbers, 14, CELL)) - 1)
    tasks = picture("title", "own", task="a task whose name is longer than a picture of two columns is wide")
    assert tasks.shape[0] - picture("title", "own", task="task").shape[0] == 23
