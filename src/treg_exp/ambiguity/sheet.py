"""Contact sheets: groups with their measurements, to be looked at before they are believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from treg_exp.data.group_manifest import LARGEST, Group
from treg_exp.reports.grid import FAINT, FRAME, INK
from treg_exp.reports.lettering import draw, shorten
from treg_exp.signals.image import to_image

CELL, GAP, LETTERS = 128, 8, 13  # pixels
LINE = 18  # pixels of a line of text
COLUMNS = 2  # groups beside each other
ROWS = 7  # of groups per sheet
Show = Callable[[str], tuple[Tensor, Tensor]]  # sample id -> picture and measurement as a picture, (3, H, W)


def sheets(groups: Sequence[Group], sigma: float, show: Show) -> list[Image.Image]:
    """Pages of groups: of every member the picture, below it its measurement, above them the figures of the group.

    Args:
        groups: what was found.
        sigma: of the noise, in which the distances of the measurements are told; 0 tells the plain RMSE.
        show: gives the pictures.
    """
    wide, tall = LARGEST * (CELL + GAP) + 3 * GAP, 2 * CELL + 3 * LINE + 4 * GAP
    pages = []
    for start in range(0, len(groups), COLUMNS * ROWS):
        some = groups[start : start + COLUMNS * ROWS]
        page = Image.new("RGB", (COLUMNS * wide + GAP, -(-len(some) // COLUMNS) * tall + GAP), "white")
        for i, group in enumerate(some):
            corner = (GAP + i % COLUMNS * wide, GAP + i // COLUMNS * tall)
            _place(page, corner, f"{start + i}: {_figures(group, sigma)}", group, show)
        pages.append(page)
    return pages


def _figures(group: Group, sigma: float) -> str:
    apart = f"{group.measurement_rmse / sigma:.1f} sigma" if sigma else f"RMSE {group.measurement_rmse:.4f}"
    features = "" if group.feature_distance is None else f", features {group.feature_distance:.2f}"
    left_open = "" if group.left_open is None else f", open {group.left_open:.0%}"
    return f"measured {apart}, pictures {group.picture_rmse:.2f}{features}{left_open}"


def _place(page: Image.Image, corner: tuple[int, int], title: str, group: Group, show: Show) -> None:
    left, top = corner
    draw(page, (left, top), title, LETTERS, INK)
    for member in group.members:
        pair = show(member.sample_id)
        for number, picture in enumerate(pair):
            y = top + LINE + number * (CELL + GAP)
            ImageDraw.Draw(page).rectangle((left - 1, y - 1, left + CELL, y + CELL), outline=FRAME)
            page.paste(to_image(picture).resize((CELL, CELL), Image.Resampling.NEAREST), (left, y))
        name = member.texts.get("name", member.caption)
        below = top + LINE + 2 * (CELL + GAP)
        draw(page, (left, below), shorten(name, LETTERS, CELL), LETTERS, INK)
        note = member.sample_id if member.restored else "text only"
        draw(page, (left, below + LINE - 2), shorten(note, LETTERS, CELL), LETTERS, FAINT)
        left += CELL + GAP
