"""What TensorBoard is shown of a run that has ended: its configuration, pictures, and settings beside their means."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from treg_exp.run_layout import MEASUREMENT, RECONSTRUCTION, TARGET, RunLayout, key_of, picture

if TYPE_CHECKING:
    import numpy as np
    from lightning.pytorch.loggers import TensorBoardLogger
    from numpy.typing import NDArray

Row = Mapping[str, Any]


def write(
    logger: TensorBoardLogger, layout: RunLayout, rows: Collection[Row], config: Mapping[str, Any],
    means: Mapping[str, float], samples: int,
) -> None:  # fmt: skip
    """Write it, at the step that is the number of restorations.

    Args:
        logger: TensorBoard's.
        layout: of the run folder.
        rows: of the run, those of a sample one after the other.
        config: of the run.
        means: of the run, by tag.
        samples: of so many, the first ones, there are pictures.
    """
    from omegaconf import OmegaConf

    writer, step = logger.experiment, len(rows)
    # Markdown: a text that is indented is shown as it is.
    text = "".join(f"    {line}\n" for line in OmegaConf.to_yaml(OmegaConf.create(dict(config))).splitlines())
    writer.add_text("config", text, step)
    logger.log_hyperparams(dict(config), dict(means), step=step)
    for name, file in (("grid", layout.grid), ("posterior", layout.posterior_grid)):
        if file.is_file():
            writer.add_image(name, side_by_side([file]), step, dataformats="HWC")
    for sample, own in islice(groupby(rows, itemgetter("sample_id")), samples):
        for name, files in pictures_of(layout, sample, own).items():
            writer.add_image(f"{name}/{sample}", side_by_side(files), step, dataformats="HWC")
    writer.flush()


def pictures_of(layout: RunLayout, sample: str, rows: Iterable[Row]) -> dict[str, list[Path]]:
    """Per variant target, measurement and restorations of one sample, those that are there."""
    shared = [picture(layout.sample(sample), name) for name in (TARGET, MEASUREMENT)]
    found: dict[str, list[Path]] = {}
    for row in rows:
        file = picture(layout.found(key_of(row)), RECONSTRUCTION)
        found.setdefault(row["variant"], [f for f in shared if f.is_file()]).append(file)
    return found


def side_by_side(files: Iterable[Path]) -> NDArray[np.uint8]:
    """Pictures beside each other, (H, W, 3); smaller ones are brought to the height of the tallest, pixel by pixel."""
    import numpy as np
    from PIL import Image

    images = [Image.open(file).convert("RGB") for file in files]
    height = max(image.height for image in images)
    scaled = [
        image.resize((image.width * height // image.height, height), Image.Resampling.NEAREST) for image in images
    ]
    return np.concatenate([np.asarray(image) for image in scaled], axis=1)
