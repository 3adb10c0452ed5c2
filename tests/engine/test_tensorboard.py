"""What TensorBoard reads from the event files of real runs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.engine.test_csv_mirror import interrupted_and_continued
from treg_exp.reports.trajectory import read_trajectories
from treg_exp.run_layout import read_rows

pytest.importorskip("tensorboard")


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def scalars(found: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in found.Scalars(tag)]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "r"
    interrupted_and_continued(folder, "logger=tensorboard")
    return folder


def test_numbers_of_a_continued_run_come_once(run_folder: Path) -> None:
    found, rows = events(run_folder), read_rows(run_folder)
    assert [step for step, _ in scalars(found, "own/psnr")] == [1, 2, 3]
    assert [value for _, value in scalars(found, "own/psnr")] == pytest.approx([row["psnr"] for row in rows], rel=1e-5)
    mean = np.mean([row["psnr"] for row in rows])
    assert scalars(found, "mean/own/psnr") == [(3, pytest.approx(mean, rel=1e-5))]


def test_curves_of_the_solver(run_folder: Path) -> None:
    found, recorded = events(run_folder), list(read_trajectories(run_folder, read_rows(run_folder)))
    assert len(recorded) == 2
    for (sample, variant, _), trajectory in recorded:
        steps, values = trajectory.curve("residual")
        assert scalars(found, f"trajectory/residual/{variant}/{sample}") == [
            (step, pytest.approx(value, rel=1e-5)) for step, value in zip(steps, values, strict=True)
        ]


def test_pictures_and_configuration(run_folder: Path) -> None:
    found, samples = events(run_folder), [row["sample_id"] for row in read_rows(run_folder)]
    assert set(found.Tags()["images"]) == {"grid", *(f"own/{sample}" for sample in samples)}
    (grid,) = found.Images("grid")
    shown = Image.open(io.BytesIO(grid.encoded_image_string)).convert("RGB")
    assert np.array_equal(np.asarray(shown), np.asarray(Image.open(run_folder / "grid.png").convert("RGB")))
    (image,) = found.Images(f"own/{samples[0]}")
    assert (image.width, image.height) == (3 * 64, 64)  # target, measurement, restoration
    last = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)).convert("RGB"))[:, 128:]
    kept = Image.open(run_folder / "samples" / samples[0] / "own" / "reconstruction.png").convert("RGB")
    assert np.array_equal(last, np.asarray(kept))
    (text,) = found.Tensors("config/text_summary")
    assert b"steps: 3" in text.tensor_proto.string_val[0]
    assert b"revision:" in text.tensor_proto.string_val[0]
