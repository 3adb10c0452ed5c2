"""Thumbnails for the picture browser: target, measurement and restorations of every sample."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from treg_exp.findings.methods import Method
from treg_exp.run_layout import (
    DEVIATION,
    MEAN,
    MEASUREMENT,
    PREVIEW,
    PSEUDO_INVERSE,
    RECONSTRUCTION,
    TARGET,
    RunLayout,
    key_of,
    picture,
)

SIDE = 160  # longest side of a thumbnail in pixels; smaller pictures stay as they are
SMALL = 96  # pictures up to this side lose nothing: for them WebP without loss is small, too
QUALITY = 85
SHARED = {TARGET: "target", MEASUREMENT: "measurement", PSEUDO_INVERSE: "pseudo-inverse", PREVIEW: "preview"}


def gather(compared: Sequence[Method], metrics: Sequence[str], most: int) -> dict[str, Any]:
    """What the browser shows.

    Args:
        compared: the methods.
        metrics: numbers below a picture.
        most: samples with pictures, over all tasks; of more, those at equal distances are taken.

    Returns:
        ``tasks`` -> ``{"samples": [{"id", "shared": {label: picture}, "restored": {method: {...}}}]}``, and how many
        samples are ``left_out``; a picture is the URL of WebP data.
    """
    tasks = list(dict.fromkeys(method.task for method in compared))
    found: dict[str, Any] = {"tasks": {}, "left_out": 0}
    for task in tasks:
        own = [method for method in compared if method.task == task]
        samples = list(dict.fromkeys(row["sample_id"] for method in own for row in method.rows))
        share = max(most // len(tasks), 1)
        chosen = samples[:: max(-(-len(samples) // share), 1)]
        found["left_out"] += len(samples) - len(chosen)
        entries = [_sample(sample, own, metrics) for sample in chosen]
        found["tasks"][task] = {"samples": entries}
    return found


def _sample(sample: str, compared: Sequence[Method], metrics: Sequence[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": sample, "shared": {}, "restored": {}}
    for method in compared:
        rows = [row for row in method.rows if row["sample_id"] == sample]
        run = next((run for run in method.runs if any(row["sample_id"] == sample for row in run.rows)), None)
        if not rows or run is None:
            continue
        layout = RunLayout(run.path)
        for name, label in SHARED.items():
            if label not in entry["shared"] and (url := _url(picture(layout.sample(sample), name))):
                entry["shared"][label] = url
        row = rows[0]
        numbers = {name: row[name] for name in metrics if isinstance(row.get(name), int | float)}
        pictures = {"restored": _url(picture(layout.found(key_of(row)), RECONSTRUCTION))}
        folder = layout.variant(sample, method.variant)
        pictures |= {"mean of draws": _url(picture(folder, MEAN)), "std of draws": _url(picture(folder, DEVIATION))}
        kept = {label: url for label, url in pictures.items() if url}
        entry["restored"][method.name] = {"prompt": row.get("prompt", ""), "numbers": numbers, "pictures": kept}
    return entry


def _url(file: Path) -> str | None:
    from PIL import Image

    if not file.is_file():
        return None
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    lossless = max(image.size) <= SMALL
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=lossless, quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
