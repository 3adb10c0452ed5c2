"""What several draws of a restoration say together: their mean, their standard deviation, and numbers of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from treg_exp.files import write_bytes
from treg_exp.metrics.base import Metric, TargetMetric
from treg_exp.metrics.column import Columns
from treg_exp.reports.calibration import FEWEST, calibration
from treg_exp.reports.columns import BEST, OF_MEAN, read_columns, variant_label
from treg_exp.reports.grid import INPUTS, Panel, compose, input_panels, pictures_beside
from treg_exp.reports.rows import write_table
from treg_exp.run_layout import (
    DEVIATION,
    MEAN,
    PREVIEW,
    PSEUDO_INVERSE,
    RECONSTRUCTION,
    TARGET,
    Row,
    RunLayout,
    key_of,
    picture,
)
from treg_exp.signals.base import Medium, png, save_picture
from treg_exp.signals.image import ImageMedium

FIELDS = ("sample_id", "variant", "draws", "posterior_std", "psnr_of_mean")
STEP = 2 / 255  # between two values of an 8-bit image, in units of [-1, 1]


def write_posterior(run_dir: str | Path, rows: Iterable[Row], metrics: Mapping[str, Metric] | None = None) -> list[Row]:
    """Mean and standard deviation of every sample and variant with several draws, and ``posterior.csv``.

    Read from the saved signals: the 8 bits of images are an error of deviation 0.002. Nothing is written where every
    restoration was drawn once. Signals of several sources are left out: their order is arbitrary in every draw.

    Args:
        run_dir: run folder.
        rows: rows of the run.
        metrics: of the run; those of signal and target alone judge the means, too.

    Returns:
        One row per sample and variant: number of ``draws``; ``posterior_std``, the standard deviation over the draws
        (n - 1 in the denominator), root mean square over all values, in units of [-1, 1]; ``psnr_of_mean`` in dB,
        None for other media than images and without a target; ``<column>_of_mean`` of the other metrics of signal and
        target; ``<column>_best``, the best draw by each column that compares with the target (of samples with as many
        draws as any has); and, from three draws on, what ``calibration`` says.
    """
    layout, columns = RunLayout(Path(run_dir)), read_columns(run_dir)
    medium, found = columns.medium, []
    judges = [metric for metric in (metrics or {}).values() if isinstance(metric, TargetMetric)]
    compared = [n for n in columns.of_rows if columns[n].uses_target and columns[n].higher_is_better is not None]
    drawn: dict[tuple[str, str], dict[int, list[Any]]] = {}
    for row in rows:
        sample_id, variant, draw = key_of(row)
        drawn.setdefault((sample_id, variant), {})[draw] = [row.get(name) for name in compared]
    most = max(map(len, drawn.values()), default=0)
    for (sample_id, variant), own in drawn.items():
        draws = sorted(own)
        if len(draws) < 2:
            continue
        folders = [layout.restoration((sample_id, variant, draw), len(draws)) for draw in draws]
        stack = torch.stack([medium.load(folder / RECONSTRUCTION).double() for folder in folders])
        if medium.stacked(stack.shape[1:]):
            continue
        mean, variance = stack.mean(dim=0), stack.var(dim=0)
        folder = layout.variant(sample_id, variant)
        medium.save(mean, folder / MEAN)
        save_picture(medium.deviation_picture(variance.sqrt()), folder / DEVIATION)
        sample = layout.sample(sample_id)
        values = (len(draws), float(variance.mean().sqrt()), _psnr(mean, sample, medium))
        together: Row = dict(zip(FIELDS, (sample_id, variant, *values), strict=True))
        if picture(sample, TARGET).is_file():
            target = medium.load(sample / TARGET).double()
            together |= _of_mean(judges, mean, target)
            if len(draws) >= FEWEST:
                together |= calibration(stack.numpy(), target.numpy(), STEP if isinstance(medium, ImageMedium) else 0.0)
        if len(draws) == most:
            together |= _best(columns, compared, list(own.values()))
        found.append(together)
    if found:
        write_table(found, list(dict.fromkeys([*FIELDS, *(name for row in found for name in row)])), layout.posterior)
    return found


def _of_mean(judges: Iterable[TargetMetric], mean: Tensor, target: Tensor) -> dict[str, float | None]:
    """What metrics of signal and target say of the mean of the draws."""
    found: dict[str, float | None] = {}
    for judge in judges:
        for name in judge.columns:
            value = judge.compare(mean[None].clamp(-1, 1), target[None])
            found[f"{name}{OF_MEAN}"] = None if value is None else float(value)
    return found


def _best(columns: Columns, names: Sequence[str], draws: Sequence[Sequence[float | None]]) -> dict[str, float]:
    """The best draw by each column, whichever that is; nothing by a column that one of them lacks."""
    found = {}
    for name, *values in zip(names, *draws, strict=True):
        known = [value for value in values if value is not None]
        if len(known) == len(draws):
            found[f"{name}{BEST}"] = max(known) if columns[name].higher_is_better else min(known)
    return found


def _psnr(mean: Tensor, sample: Path, medium: Medium) -> float | None:
    """Of the mean of the draws, in dB and at most 100."""
    if not isinstance(medium, ImageMedium) or not picture(sample, TARGET).is_file():
        return None
    error = (mean - medium.load(sample / TARGET)).square().mean()
    return float(10 * torch.log10(4 / error.clamp(min=4e-10)))


def write_posterior_grid(run_dir: str | Path, found: Sequence[Row], out: str | Path, max_rows: int = 8) -> Path:
    """Draw mean and standard deviation beside target and measurement.

    Args:
        run_dir: run folder after `write_posterior`.
        found: what that returned, not empty.
        out: PNG file to write.
        max_rows: number of samples shown.
    """
    layout, columns = RunLayout(Path(run_dir)), read_columns(run_dir)
    samples = list(dict.fromkeys(row["sample_id"] for row in found))[:max_rows]
    variants = list(dict.fromkeys(row["variant"] for row in found))
    by_key = {(row["sample_id"], row["variant"]): row for row in found}
    inputs = [name for name in pictures_beside(layout, samples) if name not in (PSEUDO_INVERSE, PREVIEW)]
    panels = []
    for sample in samples:
        line = input_panels(layout, sample, inputs)
        for variant in variants:
            line += _panels(layout.variant(sample, variant), by_key.get((sample, variant), {}))
        panels.append(line)
    labels = [f"{variant_label(variant, columns)}, {what}" for variant in variants for what in (MEAN, DEVIATION)]
    draws = max(row["draws"] for row in found)
    title = f"mean and standard deviation of {draws} draws ({columns.medium.deviation_note})"
    image = compose(panels, [INPUTS[name] for name in inputs] + labels, len(inputs), title)
    return write_bytes(out, png(image, optimize=True))


def _panels(folder: Path, row: Mapping[str, Any]) -> list[Panel]:
    psnr, std = row.get("psnr_of_mean"), row.get("posterior_std")
    return [
        Panel(picture(folder, MEAN), numbers="" if psnr is None else f"PSNR {psnr:.1f} dB"),
        Panel(picture(folder, DEVIATION), numbers="" if std is None else f"std {std:.3f}"),
    ]
