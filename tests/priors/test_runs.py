"""Folders of the new kinds in a run of their own, from the command line to the pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.test_run import run, status
from tests.priors.folders import ddim, write_flux, write_pixel, write_sd3
from treg_exp.run_layout import read_rows

COMMON = ["prior=diffusers_dir", "prior.precision=fp32", "solver.steps=3", "data.limit=1", "logger=csv"]
TEXT = ["null_text=off", "text_match=off", "prior.t5_tokens=8", "draws=1"]
NO_TEXT = ["null_text=off", "prompt=empty", "experiment=single"]


def _write_clipped_pixel(folder: Path) -> Path:
    """As real pixel-space folders say: an untrained one that does not clip leaves the range far behind."""
    return write_pixel(folder, scheduler=ddim(clip_sample=True))


@pytest.mark.parametrize(
    ("write", "overrides", "size", "nfe"),
    [
        (write_sd3, [*TEXT, "metrics=residual"], 64, {3, 6}),
        (write_flux, [*TEXT, "metrics=residual", "data.image_size=128"], 128, {3, 6}),
        (_write_clipped_pixel, [*NO_TEXT, "metrics=residual"], 32, {3}),
    ],
)
def test_a_folder_restores(
    write: Callable[[Path], Path], overrides: list[str], size: int, nfe: set[int], tmp_path: Path
) -> None:
    folder = write(tmp_path / "prior")
    run(*COMMON, f"prior.path={folder}", *overrides, f"run_dir={tmp_path}/run")
    assert status(tmp_path / "run")["state"] == "finished"
    rows = read_rows(tmp_path / "run")
    assert {row["nfe"] for row in rows} <= nfe
    for row in rows:
        assert row["residual"] < 2, "the last projection meets the measurement"
        picture = tmp_path / "run" / "samples" / row["sample_id"] / row["variant"] / "reconstruction.png"
        assert Image.open(picture).size == (size, size)


def test_a_folder_that_lacks_weights_is_named_at_once(tmp_path: Path) -> None:
    folder = write_sd3(tmp_path / "prior")
    (folder / "text_encoder_3" / "model.safetensors").unlink()
    _, err = run(*COMMON, f"prior.path={folder}", *TEXT, code=2)
    assert len(err.strip().splitlines()) == 1
    assert f"path={folder}: not a complete diffusers folder" in err
    assert "missing text_encoder_3/model.safetensors" in err
