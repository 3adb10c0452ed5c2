"""Mean and deviation of draws where not everything is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from treg_exp.reports.posterior import write_posterior, write_posterior_grid
from treg_exp.signals.image import save_png


def _drawn(folder: Path, values: list[float]) -> list[dict]:
    """Flat pictures, one per draw, with a row each."""
    rows = []
    for draw, value in enumerate(values):
        save_png(
            torch.full((3, 8, 8), value), folder / "samples" / "a" / "own" / f"draw_{draw:03d}" / "reconstruction.png"
        )
        rows.append({"sample_id": "a", "variant": "own", "draw": draw})
    return rows


def test_real_measurements_have_a_deviation_and_no_psnr(tmp_path: Path) -> None:
    (row,) = write_posterior(tmp_path, _drawn(tmp_path, [-0.5, 0.5]))
    assert row["posterior_std"] == pytest.approx(np.sqrt(0.5), abs=0.01)
    assert row["psnr_of_mean"] is None
    assert (tmp_path / "posterior.csv").read_text().splitlines()[1].endswith(",")
    assert write_posterior_grid(tmp_path, [row], tmp_path / "posterior.png").is_file()


def test_a_draw_that_failed_is_left_out(tmp_path: Path) -> None:
    rows = _drawn(tmp_path, [-0.5, 0.9, 0.5])
    (row,) = write_posterior(tmp_path, [rows[0], rows[2]])
    assert row["draws"] == 2
    assert row["posterior_std"] == pytest.approx(np.sqrt(0.5), abs=0.01)


def test_a_mean_that_meets_the_target_has_a_finite_psnr(tmp_path: Path) -> None:
    save_png(torch.zeros(3, 8, 8), tmp_path / "samples" / "a" / "target.png")
    (row,) = write_posterior(tmp_path, _drawn(tmp_path, [0.0, 0.0]))
    assert row["psnr_of_mean"] == pytest.approx(100.0)
    assert row["posterior_std"] == 0.0


def test_single_draws_leave_nothing_behind(tmp_path: Path) -> None:
    assert write_posterior(tmp_path, _drawn(tmp_path, [0.1])) == []
    assert not (tmp_path / "posterior.csv").exists()
