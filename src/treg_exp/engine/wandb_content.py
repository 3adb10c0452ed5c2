"""What W&B is shown of a run that has ended: a table with thumbnails, pictures, sound, curves of the solver's steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from treg_exp.engine.told import Told, by_step, spread_rows
from treg_exp.reports.trajectory import read_trajectories
from treg_exp.run_layout import MEASUREMENT, RECONSTRUCTION, TARGET, RunLayout, key_of, picture

Row = Mapping[str, Any]
STEP = "trajectory/step"  # axis of the curves
TOLD = "told.json"


def table_of(layout: RunLayout, rows: Collection[Row], most: int, side: int) -> Any:
    """A row for each restoration, with pictures of target, measurement and restoration, and its sound.

    Args:
        layout: of the run folder.
        rows: of the run.
        most: rows, see `spread_rows`.
        side: of the pictures in pixels; 0 for none.
    """
    import wandb

    shown = spread_rows(rows, most)
    columns = list(dict.fromkeys(name for row in shown for name in row))
    heard = any(_sound(layout, row).is_file() for row in shown[:1])
    pictures = [TARGET, MEASUREMENT, RECONSTRUCTION] if side else []
    small = cache(partial(_thumbnail, side=side))  # variants share target and measurement
    table = wandb.Table(columns=[*columns, *pictures, *(["sound"] if heard else [])])
    for row in shown:
        cells = [row.get(name) for name in columns]
        if side:
            of_sample, own = layout.sample(row["sample_id"]), layout.found(key_of(row))
            files = picture(of_sample, TARGET), picture(of_sample, MEASUREMENT), picture(own, RECONSTRUCTION)
            cells += [small(file) for file in files]
        if heard:
            sound = _sound(layout, row)
            cells.append(wandb.Audio(str(sound)) if sound.is_file() else None)
        table.add_data(*cells)
    return table


def media_of(layout: RunLayout) -> dict[str, Any]:
    """The pictures of the whole run."""
    import wandb

    files = {"grid": layout.grid, "posterior": layout.posterior_grid}
    return {name: wandb.Image(str(file)) for name, file in files.items() if file.is_file()}


def curves_of(layout: RunLayout, rows: Collection[Row], samples: int, told: Told) -> Iterator[dict[str, float]]:
    """What is to be logged of the steps that were recorded, in order; afterwards it is noted as told."""
    new = told.new(read_trajectories(layout.path, rows, samples))
    for step, values in by_step(new):
        yield {STEP: step, **values}
    if new:
        told.add(name for name, _ in new)


def _sound(layout: RunLayout, row: Row) -> Path:
    return layout.found(key_of(row)) / f"{RECONSTRUCTION}.wav"


def _thumbnail(file: Path, side: int) -> Any:
    import wandb
    from PIL import Image

    if not file.is_file():
        return None
    with Image.open(file) as image:
        small = image.convert("RGB")
        small.thumbnail((side, side))
        if (factor := side // max(small.size)) > 1:  # a measurement may have few pixels
            small = small.resize((small.width * factor, small.height * factor), Image.Resampling.NEAREST)
    return wandb.Image(small)
