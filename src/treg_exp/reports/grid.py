"""The picture of a run: target, measurement, pseudo-inverse (or a preview) and one restoration per variant.

Where the judge chose among the texts, its pick stands below each restoration; where a run has several tasks, each has
a heading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from treg_exp.files import write_bytes
from treg_exp.metrics.column import MATCH, Columns
from treg_exp.reports.choice import picked
from treg_exp.reports.columns import read_columns, variant_label
from treg_exp.reports.lettering import draw, shorten, width, wrap
from treg_exp.run_layout import (
    MEASUREMENT,
    PREVIEW,
    PSEUDO_INVERSE,
    RECONSTRUCTION,
    TARGET,
    Row,
    RunLayout,
    key_of,
    picture,
    read_rows,
)
from treg_exp.signals.base import png

CELL = 192  # pixels: a whole multiple of small image sizes, so that nearest neighbours stay square
GAP, GROUP_GAP, ROW_GAP, TEXT_GAP, MARGIN = 12, 32, 18, 7, 28
TITLE, HEADING, PROMPT, NUMBER = 26, 18, 15, 14  # letter sizes in pixels
INK, FAINT, EMPTY, FRAME = "#1a1a1a", "#6b6b6b", "#f3f3f3", "#d9d9d9"
RIGHT, WRONG = "#1b7f3b", "#c0392b"  # the verdict: the text that was given, or another
TASK_HEIGHT = 34  # pixels of the line with the name of a task
MARK = 14  # pixels that the sign of a verdict takes
INPUTS = {TARGET: "target", MEASUREMENT: "measurement", PSEUDO_INVERSE: "pseudo-inverse", PREVIEW: "preview"}


@dataclass(frozen=True)
class Panel:
    """One picture of the grid and the text below it."""

    path: Path
    prompt: str = ""
    numbers: str = ""
    nearest: bool = False  # show its pixels instead of smoothing them, where it is enlarged
    verdict: str = ""
    right: bool | None = None  # whether the verdict agrees with the text; None: no text was given

    def image(self) -> Image.Image | None:
        """A square RGB picture of ``CELL`` pixels, or None where there is no file."""
        if not self.path.is_file():
            return None
        with Image.open(self.path) as stored:
            scale = CELL / max(stored.size)
            filter_ = Image.Resampling.NEAREST if self.nearest and scale > 1 else Image.Resampling.LANCZOS
            size = (max(1, round(stored.width * scale)), max(1, round(stored.height * scale)))
            return stored.convert("RGB").resize(size, filter_)

    def prompt_lines(self) -> list[str]:
        """The prompt in at most two lines."""
        return wrap(self.prompt, PROMPT, CELL, lines=2)

    def number_lines(self) -> list[str]:
        """The numbers, all of them."""
        return wrap(self.numbers, NUMBER, CELL)


def write_grid(
    run_dir: str | Path,
    variants: Sequence[str],
    out: str | Path,
    max_rows: int = 8,
    title: str = "",
    rows: Iterable[Row] | None = None,
) -> Path:
    """Draw the first samples of a run as a PNG.

    Args:
        run_dir: run folder.
        variants: names of the variants, in the order of their columns.
        out: PNG file to write.
        max_rows: number of samples shown.
        title: line above the grid, such as task, prior and solver.
        rows: the run's rows in its own order; None reads them, in an order that depends on the number of processes.

    Returns:
        ``out``.

    Raises:
        ValueError: the run has no restoration yet.
    """
    layout, columns = RunLayout(Path(run_dir)), read_columns(run_dir)
    table: dict[str, dict[str, list[Row]]] = {}
    for row in read_rows(run_dir) if rows is None else rows:
        if row["variant"] in variants and (row["sample_id"] in table or len(table) < max_rows):
            table.setdefault(row["sample_id"], {}).setdefault(row["variant"], []).append(row)
    if not table:
        raise ValueError(f"{run_dir} has no restoration of the variants {', '.join(variants)} to draw")
    variants = [v for v in variants if any(v in found for found in table.values())]
    tasks = [next(iter(found.values()))[0].get("task", "") for found in table.values()]
    inputs = pictures_beside(layout, list(table))
    if any(tasks):  # the picture is about the texts, and long as it is
        inputs = [name for name in inputs if name not in (PSEUDO_INVERSE, PREVIEW)]
    panels = []
    for sample, found in table.items():
        line = input_panels(layout, sample, inputs)
        line += [restored(layout, sample, v, found, columns) for v in variants]
        panels.append(line)
    headings = [INPUTS[name] for name in inputs] + [variant_label(variant, columns) for variant in variants]
    return write_bytes(out, png(compose(panels, headings, len(inputs), title, tasks), optimize=True))


def pictures_beside(layout: RunLayout, samples: Sequence[str]) -> list[str]:
    """Names of the pictures beside the restorations that at least one sample has: real data has no target."""
    return [name for name in INPUTS if any(picture(layout.sample(sample), name).is_file() for sample in samples)]


def input_panels(layout: RunLayout, sample: str, names: Sequence[str]) -> list[Panel]:
    """The panels before the restorations; the first one carries the name of the sample."""
    folder = layout.sample(sample)
    return [
        Panel(picture(folder, name), prompt="" if i else sample, nearest=name == MEASUREMENT)
        for i, name in enumerate(names)
    ]


def restored(
    layout: RunLayout, sample: str, variant: str, found: Mapping[str, Sequence[Row]], columns: Columns
) -> Panel:
    """The panel of one restoration of a sample, whose rows are given by variant; of several draws, the first one."""
    if variant not in found:
        return Panel(picture(layout.variant(sample, variant), RECONSTRUCTION))
    row = found[variant][0]
    shown = [(row[name], columns[name]) for name in columns.known if columns[name].below_pictures and name in row]
    parts = [f"{c.line} {value:.{max(c.digits - 1, 0)}f} {c.unit}".rstrip() for value, c in shown if value is not None]
    if len(found[variant]) > 1 and row.get(MATCH) is not None:
        parts.insert(0, f"{sum(int(r.get(MATCH) or 0) for r in found[variant])} of {len(found[variant])} draws")
    prompt = str(row.get("prompt") or "").strip()
    text = f'"{prompt}"' if prompt else "(empty prompt)"
    verdict, right = judged(found, variant)
    return Panel(picture(layout.found(key_of(row)), RECONSTRUCTION), text, ", ".join(parts), False, verdict, right)


def judged(found: Mapping[str, Sequence[Row]], variant: str) -> tuple[str, bool | None]:
    """What the judge says of the first draw of a variant, and whether it is the text that was given."""
    rows = found[variant]
    if (choice := picked(rows[0])) is None:
        return "", None
    told = str(found[choice][0].get("prompt") or choice) if choice in found else variant_label(choice)
    match = rows[0].get(MATCH)
    return f"judge: {told}", None if match is None else bool(match)


def compose(
    panels: Sequence[Sequence[Panel]], headings: Sequence[str], inputs: int, title: str, tasks: Sequence[str] = ()
) -> Image.Image:
    """The whole picture.

    Args:
        panels: rows of panels, one per heading.
        headings: labels of the columns.
        inputs: number of columns before the restorations; a wider gap follows them.
        title: line above, or nothing.
        tasks: of each row; a new one gets a heading.
    """
    lefts = [MARGIN + i * (CELL + GAP) + (GROUP_GAP - GAP if i >= inputs > 0 else 0) for i in range(len(headings))]
    lines = [max(len(panel.prompt_lines()) for panel in row) for row in panels]
    small = [  # lines of small letters
        max(1, *(len(panel.number_lines()) for panel in row)) + any(panel.verdict for panel in row) for row in panels
    ]
    heights = [
        CELL + TEXT_GAP + count * line_height(PROMPT) + more * line_height(NUMBER)
        for count, more in zip(lines, small, strict=True)
    ]
    tasks = tasks or [""] * len(panels)
    new = [task if task != before else "" for before, task in zip(["", *tasks[:-1]], tasks, strict=True)]
    canvas_width = lefts[-1] + CELL + MARGIN
    titles = wrap(title, TITLE, canvas_width - 2 * MARGIN)
    wrapped = [wrap(heading, HEADING, CELL) for heading in headings]
    top = MARGIN + (TITLE * 2 + line_height(TITLE) * (len(titles) - 1) if titles else 0)
    bottom = top + line_height(HEADING) * (max(map(len, wrapped)) - 1)  # of the headings: their last line
    first = bottom + HEADING * 2 - 6
    named = [wrap(variant_label(task), HEADING, canvas_width - 2 * MARGIN) if task else [] for task in new]
    tall = [TASK_HEIGHT + line_height(HEADING) * (len(name) - 1) if name else 0 for name in named]
    total = first + sum(heights) + ROW_GAP * (len(panels) - 1) + MARGIN + sum(tall)
    canvas = Image.new("RGB", (canvas_width, total), "white")
    place_lines(canvas, titles, MARGIN, MARGIN, TITLE)
    for left, heading in zip(lefts, wrapped, strict=True):
        start = bottom - line_height(HEADING) * (len(heading) - 1)
        place_lines(canvas, heading, left, start, HEADING, centred=CELL)
    y = first
    for row, count, height, name, more in zip(panels, lines, heights, named, tall, strict=True):
        place_lines(canvas, name, MARGIN, y, HEADING)
        y += more
        for left, panel in zip(lefts, row, strict=True):
            place_picture(canvas, panel, left, y)
            place_text(canvas, panel, left, y + CELL + TEXT_GAP, count)
        y += height + ROW_GAP
    return canvas


def line_height(size: int) -> int:
    """Distance of two baselines."""
    return round(size * 1.3)


def place_lines(
    canvas: Image.Image, lines: Sequence[str], left: int, top: int, size: int, colour: str = INK, centred: int = 0
) -> None:
    """Draw lines below each other; ``centred`` is the width in which they are centred, 0 begins at the left."""
    for i, line in enumerate(lines):
        indent = (centred - width(line, size)) / 2 if centred else 0
        draw(canvas, (left + indent, top + i * line_height(size)), line, size, colour)


def place_picture(canvas: Image.Image, panel: Panel, left: int, top: int) -> None:
    """Draw one picture in a thin frame (white pictures need one), or an empty field."""
    image = panel.image()
    frame = (left - 1, top - 1, left + CELL, top + CELL)
    ImageDraw.Draw(canvas).rectangle(frame, fill=EMPTY if image is None else "white", outline=FRAME)
    if image is None:
        place_lines(canvas, ["no result"], left, top + CELL // 2 - PROMPT, PROMPT, FAINT, centred=CELL)
    else:
        canvas.paste(image, (left + (CELL - image.width) // 2, top + (CELL - image.height) // 2))


def place_text(canvas: Image.Image, panel: Panel, left: int, top: int, prompt_lines: int) -> None:
    """Draw prompt and numbers; the numbers of a row stand on one line, below its longest prompt."""
    place_lines(canvas, panel.prompt_lines(), left, top, PROMPT)
    top += prompt_lines * line_height(PROMPT)
    if panel.verdict:
        sign = MARK + 4 if panel.right is not None else 0
        colour = {None: FAINT, True: RIGHT, False: WRONG}[panel.right]
        if panel.right is not None:
            place_mark(canvas, panel.right, left, top + 2, colour)
        draw(canvas, (left + sign, top), shorten(panel.verdict, NUMBER, CELL - sign), NUMBER, colour)
        top += line_height(NUMBER)
    place_lines(canvas, panel.number_lines(), left, top, NUMBER, FAINT)


def place_mark(canvas: Image.Image, right: bool, left: int, top: int, colour: str) -> None:
    """Draw a check mark or a cross of ``MARK`` pixels: the font has no such letters."""
    strokes = (
        [[(0.1, 0.55), (0.4, 0.85), (0.95, 0.15)]] if right else [[(0.1, 0.1), (0.9, 0.9)], [(0.9, 0.1), (0.1, 0.9)]]
    )
    for stroke in strokes:
        places = [(left + MARK * x, top + MARK * y) for x, y in stroke]
        ImageDraw.Draw(canvas).line(places, fill=colour, width=3, joint="curve")
