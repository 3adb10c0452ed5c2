"""Audio from end to end: WAV files in, WAV files and waveform pictures out, with a small random prior."""

from __future__ import annotations

import csv
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from tests.e2e.test_run import lines, run, start, status, wait_for_rows
from tests.priors.folders import write_waveform
from treg_exp.engine.costs import NOT_REPEATED
from treg_exp.run_layout import TRAJECTORY, key_of, read_rows
from treg_exp.signals.audio import read_audio

RATE, LENGTH = 16000, 4096


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior, three recordings, and two songs of two stems."""
    root = tmp_path_factory.mktemp("audio")
    write_waveform(root / "prior", length=LENGTH)
    t = np.arange(LENGTH) / RATE
    for i, pitch in enumerate((220, 440, 523)):
        write(root / "recordings" / f"note_{i}.wav", 0.5 * np.sin(2 * math.pi * pitch * t) * np.exp(-4 * t))
    rng = np.random.default_rng(0)
    for song in ("first", "second"):
        write(root / "songs" / song / "tone.wav", 0.4 * np.sin(2 * math.pi * 300 * t))
        write(root / "songs" / song / "hiss.flac", 0.1 * rng.standard_normal(LENGTH).clip(-3, 3))
    return root


def write(file: Path, x: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, x, RATE)


def command(inputs: Path, folder: Path, *more: str) -> list[str]:
    return [
        "experiment=single", "prior=diffusers_dir", f"prior.path={inputs}/prior", "prompt=empty", "null_text=off",
        "metrics=audio", "logger=csv", "solver.steps=4", f"run_dir={folder}", *more,
    ]  # fmt: skip


def hidden(inputs: Path) -> list[str]:
    return ["task=audio/hidden_samples", "data=audio_folder", f"data.path={inputs}/recordings"]


def separation(inputs: Path) -> list[str]:
    return ["task=audio/separation", "data=stems", f"data.path={inputs}/songs"]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def restored(folder: Path) -> dict[str, torch.Tensor]:
    """Every restored waveform by its path."""
    files = sorted((folder / "samples").rglob("reconstruction*.wav"))
    return {file.relative_to(folder).as_posix(): read_audio(file, RATE) for file in files}


def names(folder: Path) -> list[str]:
    """Names of the files, without the record of the steps."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != TRAJECTORY)
    return sorted(path.relative_to(folder).as_posix() for path in files)


def test_hidden_samples(inputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    out, _ = run(*command(inputs, folder, *hidden(inputs)))
    assert "3 restorations of 3 clips" in out
    sample = folder / "samples" / "note_1"
    kept = ("empty_prompt/reconstruction", "measurement", "pseudo_inverse", "target")
    assert names(sample) == [f"{name}{suffix}" for name in kept for suffix in (".png", ".wav")]
    target, y = (read_audio(sample / f"{name}.wav", RATE) for name in ("target", "measurement"))
    assert torch.equal(target, read_audio(inputs / "recordings" / "note_1.wav", RATE))
    assert (y == 0).float().mean() == pytest.approx(0.1 + 0.9 * 0.2, abs=0.01)  # a gap, and single samples
    assert (y - target)[y != 0].std() == pytest.approx(0.01, rel=0.1)
    rows = table(folder)
    assert list(rows[0])[4:8] == ["si_sdr", "si_sdr_improvement", "snr", "residual"]
    x = restored(folder)["samples/note_1/empty_prompt/reconstruction.wav"].double()
    error = (target - x).square().sum()
    assert float(rows[1]["snr"]) == pytest.approx(
        float(10 * (target.double().square().sum() / error).log10()), abs=1e-4
    )
    assert Image.open(folder / "grid.png").width > 4 * 192


def test_separation_of_two_stems(inputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    run(*command(inputs, folder, *separation(inputs), "draws=2"))
    sample = folder / "samples" / "first"
    assert names(sample / "empty_prompt") == [
        f"draw_00{draw}/reconstruction{end}" for draw in (0, 1) for end in (".png", "_1.wav", "_2.wav")
    ]
    hiss, tone = (read_audio(sample / f"target_{number}.wav", RATE) for number in (1, 2))
    assert tone.abs().max() == pytest.approx(0.4, abs=0.01)
    mixture = read_audio(sample / "measurement.wav", RATE)
    assert (mixture - hiss - tone).std() == pytest.approx(0.01, rel=0.1)
    rows = table(folder)
    assert len(rows) == 4
    assert all(math.isfinite(float(row[name])) for row in rows for name in ("si_sdr", "si_sdr_improvement", "snr"))
    assert {row["nfe"] for row in rows} == {"8.0"}  # 4 steps of 2 sources
    assert not (folder / "posterior.csv").exists()  # sources have no order that draws could share


def test_draws_of_a_waveform_have_a_mean(inputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    out, _ = run(*command(inputs, folder, *hidden(inputs), "draws=2", "data.limit=1"))
    assert "std of" in out
    own = folder / "samples" / "note_0" / "empty_prompt"
    draws = [read_audio(own / f"draw_00{draw}" / "reconstruction.wav", RATE) for draw in (0, 1)]
    assert torch.allclose(read_audio(own / "mean.wav", RATE), (draws[0] + draws[1]) / 2, atol=1e-6)
    assert (own / "std.png").is_file()
    assert (folder / "posterior.png").is_file()


@pytest.mark.slow
def test_a_killed_run_continues_with_the_same_numbers(inputs: Path, tmp_path: Path) -> None:
    many = ["data.batch_size=1", "solver.steps=20", "draws=3", *hidden(inputs)]
    process = start(*command(inputs, tmp_path / "stopped", *many))
    wait_for_rows(process, tmp_path / "stopped", 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=600)
    assert 2 <= len(read_rows(tmp_path / "stopped")) < 9
    for name in ("stopped", "whole"):
        run(*command(inputs, tmp_path / name, *many))
        assert status(tmp_path / name)["finished"] == lines(tmp_path / name) == 9
    stopped, whole = (
        {key_of(row): {k: v for k, v in row.items() if k not in NOT_REPEATED} for row in read_rows(tmp_path / name)}
        for name in ("stopped", "whole")
    )
    assert stopped == whole
    before, after = restored(tmp_path / "stopped"), restored(tmp_path / "whole")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_real_measurements_and_other_lengths(inputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    short = ["data=measurements", f"data.path={inputs}/recordings", "data.length=4096", "task=audio/hidden_samples"]
    run(*command(inputs, folder, *short, "data.limit=1"))
    assert names(folder / "samples" / "note_0" / "empty_prompt") == ["reconstruction.png", "reconstruction.wav"]
    (row,) = table(folder)
    assert (row["si_sdr"], row["residual"] != "") == ("", True)
    run(*command(inputs, tmp_path / "s", *hidden(inputs), "data.length=2048", "data.limit=1"))
    assert {x.shape for x in restored(tmp_path / "s").values()} == {(1, 2048)}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["metrics=default"], "metrics.psnr=PSNR: judges image, and the prior makes audio"),
        (["data=emoji_test"], "gives image, and the prior makes audio"),
    ],
)
def test_images_are_refused_before_the_prior_is_loaded(
    inputs: Path, tmp_path: Path, more: list[str], told: str
) -> None:
    kept = [part for part in hidden(inputs) if not (more == ["data=emoji_test"] and part.startswith("data"))]
    _, err = run(*command(inputs, tmp_path / "r", *kept, *more), code=2)
    assert told in err
    assert "Traceback" not in err
    assert not (tmp_path / "r").exists()


def test_another_sample_rate_is_refused(inputs: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(LENGTH), 44100)
    more = ["task=audio/hidden_samples", "data=audio_folder", f"data.path={tmp_path}"]
    _, err = run(*command(inputs, tmp_path / "r", *more), code=2)
    assert "44100 Hz, and the prior makes audio of 16000 Hz" in err
    assert "ffmpeg -i a.wav -ar 16000 a-16000.wav" in err
