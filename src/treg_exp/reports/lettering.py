"""Text in pictures, in any script, with fonts that come with Pillow and the package: every machine draws the same."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache, lru_cache

from PIL import Image, ImageDraw, ImageFont

from treg_exp.shipped import ASSETS

SUPERSAMPLING = 4  # letters are drawn larger and shrunk: hinting at small sizes spoils their spacing
#: By preference; the first one is Pillow's. See the README beside them.
FONTS = ("", "DejaVuSans.ttf", "NotoSansDevanagari.ttf", "NotoSansThai.ttf", "DroidSansFallback.ttf")
MISSING = "\u25a1"  # a box
DOTS = "..."
UNSPACED = "\u0e00-\u0e7f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef"  # scripts whose words may break anywhere
TOKEN = re.compile(f"[{UNSPACED}]|[^{UNSPACED}]+")


@cache
def _font(size: int, name: str = "") -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.truetype(str(ASSETS / "fonts" / name), size) if name else ImageFont.load_default(size)


@cache
def _covers(name: str, letter: str) -> bool:
    """Whether a font has a letter, and not only its picture of a missing one."""
    font = _font(32, name)
    return letter == " " or bytes(font.getmask(letter)) != bytes(font.getmask("\uffff"))


@lru_cache(maxsize=4096)
def runs(text: str) -> tuple[tuple[str, str], ...]:
    """(font, part) of one line: the first font that has it all, or parts in the first fonts that have their letters."""
    letters = [shown for c in unicodedata.normalize("NFC", text) for shown in _shown(c)]
    for name in FONTS:
        if all(_covers(name, c) for c in letters):
            return ((name, "".join(letters)),) if letters else ()
    parts: list[tuple[str, str]] = []
    for c in letters:
        if parts and _covers(parts[-1][0], c):
            parts[-1] = (parts[-1][0], parts[-1][1] + c)
        else:
            parts.append((next(name for name in FONTS if _covers(name, c)), c))
    return tuple(parts)


def _shown(letter: str) -> str:
    """The letter, or what stands for it: a space for line breaks, the name of a sign, a box."""
    category = unicodedata.category(letter)
    if category == "Cc":
        return " "
    if any(_covers(name, letter) for name in FONTS):
        return letter
    if category in ("Cf", "Mn", "Me"):  # changes its neighbours; nothing to see
        return ""
    return f"[{unicodedata.name(letter, MISSING).lower()}]" if category == "So" else MISSING


def width(text: str, size: int) -> float:
    """Width of one line in pixels."""
    return sum(_font(size * SUPERSAMPLING, name).getlength(part) for name, part in runs(text)) / SUPERSAMPLING


def wrap(text: str, size: int, limit: float, lines: int | None = None) -> list[str]:
    """``text`` in lines of ``limit`` pixels; with ``lines``, in at most so many, and what does not fit ends in dots."""
    result: list[str] = []
    for space, token in _tokens(text, size, limit):
        if result and width(result[-1] + space + token, size) <= limit:
            result[-1] += space + token
        elif len(result) == lines:
            return [*result[:-1], _dotted(result[-1] + space + token, size, limit)]
        else:
            result.append(token)
    return result


def _tokens(text: str, size: int, limit: float) -> Iterator[tuple[str, str]]:
    """(space before it, part) for all parts that stay on one line, none of them wider than the limit."""
    for word in text.split():
        space = " "
        for token in TOKEN.findall(word):
            while token:
                fitting = max(1, _fitting(token, size, limit))
                yield space, token[:fitting]
                space, token = "", token[fitting:]


def _fitting(line: str, size: int, limit: float, end: str = "") -> int:
    """Number of letters that fit into the limit with ``end`` behind them."""
    return bisect_right(range(1, len(line) + 1), limit, key=lambda count: width(line[:count] + end, size))


def _dotted(line: str, size: int, limit: float) -> str:
    """The start of a line and dots."""
    return line[: _fitting(line, size, limit, DOTS)].rstrip() + DOTS


def shorten(line: str, size: int, limit: float) -> str:
    """The line, or its start and dots where it is wider than ``limit`` pixels."""
    return line if width(line, size) <= limit else _dotted(line, size, limit)


def draw(canvas: Image.Image, place: tuple[float, float], text: str, size: int, colour: str) -> None:
    """Draw one line; ``place`` is the (x, y) of its top left corner in pixels."""
    box = (round(width(text, size)) + 2, size + size // 2)
    mask = Image.new("L", (box[0] * SUPERSAMPLING, box[1] * SUPERSAMPLING), 0)
    pen, left = ImageDraw.Draw(mask), 0.0
    own = _font(size * SUPERSAMPLING)
    baseline = own.getmetrics()[0] if isinstance(own, ImageFont.FreeTypeFont) else size * SUPERSAMPLING
    for name, part in runs(text):
        font = _font(size * SUPERSAMPLING, name)
        pen.text((left, baseline), part, fill=255, font=font, anchor="ls")
        left += font.getlength(part)
    corner = (round(place[0]), round(place[1]))
    canvas.paste(Image.new("RGB", box, colour), corner, mask.resize(box, Image.Resampling.BOX))
