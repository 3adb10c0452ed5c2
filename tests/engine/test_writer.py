"""Which files a batch leaves in the run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from tests.engine.plans import plan_of
from treg_exp.data.sample import Sample
from treg_exp.engine.module import Result
from treg_exp.engine.run_folder import RunFolder
from treg_exp.engine.work import WorkItem
from treg_exp.engine.writer import RunWriter
from treg_exp.files import WriteError, write_bytes
from treg_exp.run_layout import read_failures, read_rows
from treg_exp.signals.audio import AudioMedium
from treg_exp.signals.base import Medium
from treg_exp.signals.image import ImageMedium
from treg_exp.signals.plots import plot
from treg_exp.tasks.problems import EditProblem, InverseProblem


def result(x: Tensor, problem: Any, preview: Tensor | None, failed: bool = False, **latents: Tensor) -> Result:
    row = {"sample_id": "a", "variant": "own", "draw": 0}
    item = WorkItem(0, "a", "own", 0, {"prompt": ""}, {})
    made = None if preview is None else lambda: preview
    return Result(item, Sample("a", target=x), lambda: problem, made, None if failed else 2 * x, row, latents)


def measured(y: Tensor, linear: bool = True, pictured: bool = True) -> InverseProblem:
    return InverseProblem(y[None], SimpleNamespace(linear=linear, pictured=pictured), sigma=0.0, lam=0.0)  # type: ignore[arg-type]


def written(folder: Path, medium: Medium, *results: Result, draws: int = 1) -> list[str]:
    run = RunFolder(folder, plan_of("a"))
    run.open({}, {})
    run.close()
    writer = RunWriter(run, draws, medium)
    trainer: Any = SimpleNamespace(global_rank=0, is_global_zero=True)
    writer.on_predict_batch_end(trainer, SimpleNamespace(), list(results), None, 0)  # type: ignore[arg-type]
    sample = folder / "samples" / "a"
    return sorted(path.relative_to(sample).as_posix() for path in sample.rglob("*") if path.is_file())


IMAGE_MEDIUM = ImageMedium()
IMAGE, WAVE, SMALL = torch.full((3, 8, 8), 0.75), torch.full((1, 64), 0.75), torch.full((3, 4, 4), 0.5)


@pytest.mark.parametrize(
    ("problem", "preview", "kept"),
    [
        (measured(SMALL), IMAGE, ["measurement.png", "own/reconstruction.png", "pseudo_inverse.png", "target.png"]),
        (measured(SMALL, False), IMAGE, ["measurement.png", "own/reconstruction.png", "preview.png", "target.png"]),
        (measured(SMALL, False), IMAGE * 0, ["measurement.png", "own/reconstruction.png", "target.png"]),
        (EditProblem(IMAGE[None]), None, ["own/reconstruction.png", "target.png"]),
    ],
)
def test_files_of_images(tmp_path: Path, problem: Any, preview: Tensor | None, kept: list[str]) -> None:
    assert written(tmp_path, ImageMedium(), result(IMAGE, problem, preview)) == kept


def test_a_measurement_that_is_no_image_is_plotted(tmp_path: Path) -> None:
    for y, pictured in ((torch.arange(5.0), True), (SMALL + 0j, True), (SMALL, False)):
        sample = tmp_path / f"{y.dtype}{pictured}" / "samples" / "a"
        written(sample.parents[1], ImageMedium(), result(IMAGE, measured(y, pictured=pictured), IMAGE))
        assert np.array_equal(np.asarray(Image.open(sample / "measurement.png")), np.asarray(plot(y)))
        assert (sample / "pseudo_inverse.png").is_file()


def test_files_of_audio(tmp_path: Path) -> None:
    audio = AudioMedium(8000)
    written(tmp_path / "a", audio, result(WAVE, measured(WAVE), WAVE))
    sample = tmp_path / "a" / "samples" / "a"
    assert torch.equal(audio.load(sample / "own" / "reconstruction"), torch.ones(1, 64))  # 1.5 is clamped
    kept = written(tmp_path / "b", audio, result(WAVE, measured(WAVE[:, :16]), WAVE))
    assert "measurement.wav" not in kept  # a quarter of the samples: another sample rate
    assert "measurement.png" in kept


def test_failures_leave_a_row_and_no_signal(tmp_path: Path) -> None:
    kept = written(tmp_path, ImageMedium(), result(IMAGE, measured(SMALL), IMAGE, failed=True))
    assert kept == ["measurement.png", "pseudo_inverse.png", "target.png"]
    assert (len(read_rows(tmp_path)), len(read_failures(tmp_path))) == (0, 1)


def test_latents_of_a_solver_are_kept(tmp_path: Path) -> None:
    latent = torch.randn(4, 2, 2).transpose(1, 2)
    kept = written(tmp_path, ImageMedium(), result(IMAGE, EditProblem(IMAGE[None]), None, inverted=latent), draws=2)
    assert kept[:2] == ["own/draw_000/latents.safetensors", "own/draw_000/reconstruction.png"]
    stored = load_file(tmp_path / "samples/a/own/draw_000/latents.safetensors")
    assert torch.equal(stored["inverted"], latent)


def test_what_the_draws_of_a_sample_share_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several in one batch, too; and the measurement last of a sample's files, the rows after all."""
    order: list[str] = []
    for place in ("treg_exp.signals.base.write_bytes", "treg_exp.signals.image.write_bytes"):
        monkeypatch.setattr(place, lambda path, data: order.append(path.name) or write_bytes(path, data))
    append = RunFolder.append
    monkeypatch.setattr(RunFolder, "append", lambda *args: order.append("rows") or append(*args))
    results = [result(IMAGE, measured(SMALL), IMAGE) for _ in range(3)]
    results = [replace(r, item=replace(r.item, draw=i), row={**r.row, "draw": i}) for i, r in enumerate(results)]
    written(tmp_path, IMAGE_MEDIUM, *results, draws=3)
    assert sorted(order[:5]) == ["pseudo_inverse.png", *["reconstruction.png"] * 3, "target.png"]
    assert order[5:] == ["measurement.png", "rows"]
    assert [row["draw"] for row in read_rows(tmp_path)] == [0, 1, 2]


def test_a_file_that_cannot_be_written_leaves_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> Path:
        if path.name == "reconstruction.png":
            raise WriteError(path, OSError(28, "No space left on device"))
        return write_bytes(path, data)

    monkeypatch.setattr("treg_exp.signals.base.write_bytes", full)
    with pytest.raises(WriteError, match=r"cannot write .*reconstruction\.png: No space left"):
        written(tmp_path, IMAGE_MEDIUM, result(IMAGE, measured(SMALL), IMAGE))
    assert read_rows(tmp_path) == []
