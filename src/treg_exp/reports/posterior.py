"""What several draws of a restoration say together: their mean, their standard deviation, and numbers of both."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from treg_exp.files import write_bytes
from treg_exp.reports.columns import variant_label
from treg_exp.reports.grid import INPUTS, Panel, compose, given
from treg_exp.reports.rows import Row, draw_name, write_table

STD_WHITE = 0.5  # standard deviation, in units of [-1, 1], that a map shows as white
FIELDS = ("sample_id", "variant", "draws", "posterior_std", "psnr_of_mean")


def write_posterior(run_dir: str | Path, rows: Sequence[Row]) -> list[Row]:
    """Mean and standard deviation of every sample and variant with several draws, as PNGs and ``posterior.csv``.

    Read from the saved pictures: their 8 bits are an error of deviation 0.002. Nothing is written where every
    restoration was drawn once.

    Args:
        run_dir: run folder with ``samples/``.
        rows: rows of the run.

    Returns:
        One row per sample and variant: number of ``draws``; ``posterior_std``, the standard deviation over the draws
        (n - 1 in the denominator), root mean square over pixels and channels, in units of [-1, 1]; ``psnr_of_mean``
        in dB, None without a target.
    """
    run_dir, found = Path(run_dir), []
    drawn: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        drawn.setdefault((row["sample_id"], row["variant"]), []).append(int(row.get("draw", 0)))
    for (sample_id, variant), draws in drawn.items():
        if len(draws) < 2:
            continue
        folder = run_dir / "samples" / sample_id / variant
        stack = np.stack([read_picture(folder / draw_name(draw) / "reconstruction.png") for draw in sorted(draws)])
        mean, variance = stack.mean(axis=0), stack.var(axis=0, ddof=1)
        _save(mean / 2 + 0.5, folder / "mean.png")
        _save(np.sqrt(variance.mean(axis=-1)) / STD_WHITE, folder / "std.png")
        target = run_dir / "samples" / sample_id / "target.png"
        error = float(np.square(mean - read_picture(target)).mean()) if target.is_file() else None
        values = (
            len(draws),
            float(np.sqrt(variance.mean())),
            None if error is None else 10 * np.log10(4.0 / max(error, 4e-10)),
        )
        found.append(dict(zip(FIELDS, (sample_id, variant, *values), strict=True)))
    if found:
        write_table(found, FIELDS, run_dir / "posterior.csv")
    return found


def write_posterior_grid(run_dir: str | Path, found: Sequence[Row], out: str | Path, max_rows: int = 8) -> Path:
    """Draw mean and standard deviation beside target and measurement.

    Args:
        run_dir: run folder after `write_posterior`.
        found: what that returned, not empty.
        out: PNG file to write.
        max_rows: number of images shown.
    """
    run_dir = Path(run_dir)
    samples = list(dict.fromkeys(row["sample_id"] for row in found))[:max_rows]
    variants = list(dict.fromkeys(row["variant"] for row in found))
    by_key = {(row["sample_id"], row["variant"]): row for row in found}
    inputs = [name for name in given(run_dir, samples) if name not in ("pseudo_inverse", "preview")]
    panels = []
    for sample in samples:
        folder = run_dir / "samples" / sample
        line = [Panel(folder / f"{name}.png", nearest=name == "measurement") for name in inputs]
        if inputs:
            line[0] = replace(line[0], prompt=sample)
        for variant in variants:
            line += _panels(folder / variant, by_key.get((sample, variant), {}))
        panels.append(line)
    labels = [f"{variant_label(variant)}, {what}" for variant in variants for what in ("mean", "std")]
    title = f"mean and standard deviation of {max(row['draws'] for row in found)} draws (white: {STD_WHITE:g} or more)"
    buffer = io.BytesIO()
    compose(panels, [INPUTS[name] for name in inputs] + labels, len(inputs), title).save(buffer, "PNG", optimize=True)
    return write_bytes(out, buffer.getvalue())


def _panels(folder: Path, row: Mapping[str, Any]) -> list[Panel]:
    psnr, std = row.get("psnr_of_mean"), row.get("posterior_std")
    return [
        Panel(folder / "mean.png", numbers="" if psnr is None else f"PSNR {psnr:.1f} dB"),
        Panel(folder / "std.png", numbers="" if std is None else f"std {std:.3f}"),
    ]


def read_picture(path: Path) -> np.ndarray:
    """(H, W, 3) in [-1, 1]."""
    with Image.open(path) as stored:
        return np.asarray(stored.convert("RGB"), dtype=np.float64) / 127.5 - 1.0


def _save(values: np.ndarray, path: Path) -> None:
    """Values in [0, 1] as PNG; larger ones are white."""
    buffer = io.BytesIO()
    Image.fromarray(np.uint8(np.round(255 * values.clip(0, 1)))).save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())
