"""Text in pictures, with the font that comes inside Pillow, so that every machine draws the same."""

from __future__ import annotations

import unicodedata
from functools import cache

from PIL import Image, ImageDraw, ImageFont

SUPERSAMPLING = 4  # letters are drawn larger and shrunk: hinting at small sizes spoils their spacing
REPLACEMENTS = {"σ": "sigma", "λ": "lambda", "±": "+-", "×": "x", "–": "-", "—": "-", "ß": "ss", "’": "'"}


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def plain(text: str) -> str:
    """``text`` in ASCII, which the font has: accents dropped, a few signs spelled out, ``?`` for others."""
    spelled = "".join(REPLACEMENTS.get(character, character) for character in text)
    letters = (c for c in unicodedata.normalize("NFKD", spelled) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in letters)


def width(text: str, size: int) -> float:
    """Width of one line in pixels."""
    return _font(size * SUPERSAMPLING).getlength(plain(text)) / SUPERSAMPLING


def wrap(text: str, size: int, limit: float, lines: int) -> list[str]:
    """``text`` in at most ``lines`` lines of ``limit`` pixels; what does not fit ends in dots."""
    result: list[str] = []
    words = text.split()
    while words and len(result) < lines:
        count = 1
        while count < len(words) and width(" ".join(words[: count + 1]), size) <= limit:
            count += 1
        result.append(" ".join(words[:count]))
        words = words[count:]
    if words:
        result[-1] += " " + words[0]  # too long by intent: makes the line end in dots
    return [shorten(line, size, limit) for line in result]


def shorten(line: str, size: int, limit: float) -> str:
    """The line, or its start and dots where it is wider than ``limit`` pixels."""
    if width(line, size) <= limit:
        return line
    while line and width(line + "...", size) > limit:
        line = line[:-1]
    return line.rstrip() + "..."


def draw(canvas: Image.Image, place: tuple[float, float], text: str, size: int, colour: str) -> None:
    """Draw one line; ``place`` is the (x, y) of its top left corner in pixels."""
    font = _font(size * SUPERSAMPLING)
    box = (round(width(text, size)) + 2, size + size // 2)
    mask = Image.new("L", (box[0] * SUPERSAMPLING, box[1] * SUPERSAMPLING), 0)
    ImageDraw.Draw(mask).text((0, 0), plain(text), fill=255, font=font)
    corner = (round(place[0]), round(place[1]))
    canvas.paste(Image.new("RGB", box, colour), corner, mask.resize(box, Image.Resampling.BOX))
