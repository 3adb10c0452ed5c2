"""Thumbnails for the picture browser: target, measurement and restorations of every sample."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from treg_exp.findings.collection import Run
from treg_exp.findings.methods import Method, is_number
from treg_exp.metrics.column import Columns
from treg_exp.run_layout import (
    DEVIATION,
    MEAN,
    MEASUREMENT,
    PREVIEW,
    PSEUDO_INVERSE,
    RECONSTRUCTION,
    TARGET,
    Row,
    RunLayout,
    key_of,
    picture,
)

SIDE = 160  # longest side of a thumbnail in pixels; smaller pictures stay as they are
SMALL = 96  # pictures up to this side lose nothing: for them WebP without loss is small, too
QUALITY = 85
SHARED = {TARGET: "target", MEASUREMENT: "measurement", PSEUDO_INVERSE: "pseudo-inverse", PREVIEW: "preview"}


def gather(compared: Sequence[Method], metrics: Sequence[str], most: int, columns: Columns) -> dict[str, Any]:
    """What the browser shows.

    Args:
        compared: the methods.
        metrics: numbers below a picture.
        most: samples with pictures, over all tasks; of more, those at equal distances are taken.
        columns: what the numbers mean.

    Returns:
        ``tasks`` -> ``{"samples": [{"id", "shared": {label: picture}, "restored": {method: {...}}}]}``, ``columns``
        (name -> heading, unit, digits), how many samples are ``left_out``, and of how many restorations and files
        pictures are ``missing`` or ``damaged``. A picture is the URL of WebP data.
    """
    tasks = list(dict.fromkeys(method.task for method in compared))
    told = {name: [columns[name].line, columns[name].unit, columns[name].digits] for name in metrics}
    found: dict[str, Any] = {"tasks": {}, "columns": told, "left_out": 0, "missing": 0, "damaged": 0}
    for task in tasks:
        own = [method for method in compared if method.task == task]
        samples = list(dict.fromkeys(image for method in own for image in method.images))
        share = max(most // len(tasks), 1)
        chosen = samples[:: max(-(-len(samples) // share), 1)]
        found["left_out"] += len(samples) - len(chosen)
        found["tasks"][task] = {"samples": [_sample(sample, own, metrics, found) for sample in chosen]}
    return found


def notes(found: dict[str, Any]) -> list[str]:
    """What a reader should know about the pictures."""
    told = {
        "missing": "restorations have no picture in their folder (deleted, or not kept).",
        "damaged": "files of pictures are damaged.",
    }
    return [f"{found[key]} {text}" for key, text in told.items() if found[key]]


def _sample(sample: str, compared: Sequence[Method], metrics: Sequence[str], counts: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": sample, "shared": {}, "restored": {}}
    for method in compared:
        if rows := method.images.get(sample):
            run, row = rows[0]
            folder = RunLayout(run.path).sample(sample)
            for name, label in SHARED.items():
                if label not in entry["shared"] and (url := _url(picture(folder, name), counts)):
                    entry["shared"][label] = url
            entry["restored"][method.name] = _restored(run, row, metrics, counts)
    return entry


def _restored(run: Run, row: Row, metrics: Sequence[str], counts: dict[str, Any]) -> dict[str, Any]:
    layout = RunLayout(run.path)
    folder = layout.variant(row["sample_id"], row["variant"])
    file = picture(layout.found(key_of(row)), RECONSTRUCTION)
    pictures = {
        "restored": _url(file, counts),
        "mean of draws": _url(picture(folder, MEAN), counts),
        "std of draws": _url(picture(folder, DEVIATION), counts),
    }
    counts["missing"] += not file.is_file()
    return {
        "prompt": row.get("prompt", ""),
        "numbers": {name: float(f"{row[name]:.4g}") for name in metrics if is_number(row.get(name))},
        "pictures": {label: url for label, url in pictures.items() if url},
    }


def _url(file: Path, counts: dict[str, Any]) -> str | None:
    from PIL import Image

    if not file.is_file():
        return None
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError):  # of a broken PNG Pillow says SyntaxError
        counts["damaged"] += 1
        return None
    lossless = max(image.size) <= SMALL
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=lossless, quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
