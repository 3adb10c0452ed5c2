"""Pictures of a benchmark: what every method has made of the same measurements, a PNG for each task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from treg_exp.files import write_bytes
from treg_exp.findings.methods import Method
from treg_exp.metrics.column import Columns
from treg_exp.reports.grid import INPUTS, Panel, compose, input_panels, restored
from treg_exp.run_layout import MEASUREMENT, TARGET, RunLayout
from treg_exp.signals.base import png

SHARED = (TARGET, MEASUREMENT)


def write_sheets(compared: Sequence[Method], columns: Columns, out: Path, images: int) -> list[Path]:
    """Draw the first images of every task, a column for each method.

    Args:
        compared: methods, in the order of their columns.
        columns: what the numbers below a picture mean.
        out: folder for ``TASK.png``.
        images: rows of a picture.

    Returns:
        The files, one per task.
    """
    files = []
    for task in dict.fromkeys(method.task for method in compared):
        own = [method for method in compared if method.task == task]
        restored_by_any = list(dict.fromkeys(image for method in own for image in method.images))
        rows = [_row(image, own, columns) for image in restored_by_any[:images]]
        headings = [INPUTS[name] for name in SHARED] + [method.name for method in own]
        files.append(write_bytes(out / f"{task}.png", png(compose(rows, headings, len(SHARED), task), optimize=True)))
    return files


def _row(image: str, compared: Sequence[Method], columns: Columns) -> list[Panel]:
    """The caption is the same for all, and stands below the target."""
    run, first = next(method.images[image][0] for method in compared if image in method.images)
    panels = input_panels(RunLayout(run.path), image, SHARED)
    panels[0] = replace(panels[0], prompt=str(first.get("prompt") or image))
    for method in compared:
        if image not in method.images:
            panels.append(Panel(Path()))
            continue
        run, row = method.images[image][0]
        panel = restored(RunLayout(run.path), image, row["variant"], {row["variant"]: [row]}, columns)
        panels.append(replace(panel, prompt="", verdict=""))
    return panels
