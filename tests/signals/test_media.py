"""Signals come back as they were kept, and their pictures show them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from treg_exp.errors import FieldError
from treg_exp.signals.audio import AudioMedium, read_audio
from treg_exp.signals.image import ImageMedium
from treg_exp.signals.media import MEDIA, medium
from treg_exp.signals.plots import INK, SIDE, plot


def tone(cycles: float, length: int = 4096, amplitude: float = 0.5) -> torch.Tensor:
    """(1, T)"""
    return amplitude * torch.sin(2 * math.pi * cycles * torch.arange(length) / length)[None]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_by_name() -> None:
    assert {name: medium(name, 8000).name for name in MEDIA} == {"image": "image", "audio": "audio"}
    with pytest.raises(FieldError, match="medium=smell: must be one of image, audio"):
        medium("smell")
    with pytest.raises(FieldError, match="sample_rate=null: audio needs its sample rate"):
        medium("audio")


def test_an_image_is_one_file(tmp_path: Path) -> None:
    for channels in (1, 3):
        x = torch.linspace(-1.2, 1.2, channels * 35).reshape(channels, 5, 7)
        ImageMedium().save(x, tmp_path / "target")
        assert names(tmp_path) == ["target.png"]
        read = ImageMedium().load(tmp_path / "target")
        assert (read - x.clamp(-1, 1)).abs().max() <= 1 / 255 + 1e-6


def test_audio_is_kept_to_the_bit(tmp_path: Path) -> None:
    x = torch.cat([tone(3, amplitude=1.3), tone(50)])
    audio = AudioMedium(16000)
    audio.save(x, tmp_path / "target")
    assert names(tmp_path) == ["target.png", "target.wav"]
    assert torch.equal(audio.load(tmp_path / "target"), x)
    info = soundfile.info(tmp_path / "target.wav")
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (16000, 2, 4096, "FLOAT")


def test_equal_audio_makes_equal_files(monkeypatch: pytest.MonkeyPatch) -> None:
    content = AudioMedium(16000).encode(tone(3))
    peak = content.index(b"PEAK") + 12
    assert content[peak : peak + 4] == bytes(4), "the time of writing"


def test_sources_have_a_file_each(tmp_path: Path) -> None:
    audio, x = AudioMedium(8000), torch.stack([tone(cycles) for cycles in range(1, 12)])
    audio.save(x, tmp_path / "a" / "reconstruction")
    assert names(tmp_path / "a")[-3:] == ["reconstruction_7.wav", "reconstruction_8.wav", "reconstruction_9.wav"]
    assert torch.equal(audio.load(tmp_path / "a" / "reconstruction"), x)
    images = torch.rand(2, 3, 8, 8).round() * 2 - 1
    ImageMedium().save(images, tmp_path / "b" / "target")
    assert names(tmp_path / "b") == ["target.png", "target_1.png", "target_2.png"]
    assert torch.equal(ImageMedium().load(tmp_path / "b" / "target"), images)
    assert Image.open(tmp_path / "b" / "target.png").size == (16, 8)


def test_pictures_of_audio_show_loudness_and_pitch() -> None:
    audio = AudioMedium(16000)
    low, high = (np.asarray(audio.picture(tone(cycles)).convert("L")) for cycles in (200, 1800))
    assert low.shape == (SIDE, SIDE)
    spectrum = [picture[SIDE // 2 :].mean(axis=1) for picture in (low, high)]
    assert spectrum[0].argmin() > spectrum[1].argmin()  # dark is loud, high tones are above
    wave = low[: SIDE // 2] < 150
    rows = np.flatnonzero(wave.any(axis=1))
    assert (rows[0], rows[-1]) == (pytest.approx(SIDE / 8, abs=2), pytest.approx(SIDE * 3 / 8, abs=2))  # +-0.5
    short = audio.picture(torch.zeros(3, 1, 5))  # fewer samples than columns, three sources
    assert short.size == (SIDE, SIDE)


def test_the_deviation_is_a_band() -> None:
    band = np.asarray(AudioMedium(16000).deviation_picture(torch.full((1, 4096), 0.25)).convert("L")) < 150
    assert band.mean() == pytest.approx(0.5, abs=0.02)  # 0.5 would fill the picture
    grey = np.asarray(ImageMedium().deviation_picture(torch.full((3, 4, 4), 0.25)))
    assert grey.shape == (4, 4)
    assert (grey == 128).all()


def test_what_measurements_are_kept_as_signals() -> None:
    audio, image = AudioMedium(16000), ImageMedium()
    assert audio.keeps((1, 4096), (2, 1, 4096))
    assert audio.holds((1, 1024))
    assert not audio.keeps((1, 1024), (1, 4096))  # another sample rate
    assert not audio.holds((3, 8, 8))
    assert image.keeps((3, 8, 8), (3, 64, 64))
    assert not image.holds((2, 8, 8))


def test_another_sample_rate_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a b.wav"
    soundfile.write(file, tone(3)[0].numpy(), 44100)
    with pytest.raises(
        FieldError, match=r"sample_rate=44100: .* has 44100 Hz, and the prior makes audio of 16000 Hz"
    ) as e:
        read_audio(file, 16000)
    assert "ffmpeg -i 'a b.wav' -ar 16000 'a b-16000.wav'" in str(e.value)


def test_integers_are_scaled_and_broken_files_named(tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, np.array([0, -32768, 16384], dtype=np.int16), 8000)
        assert read_audio(tmp_path / name, 8000).tolist() == [[0, -1, 0.5]]
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"cannot read the audio file .*b\.wav"):
        read_audio(tmp_path / "b.wav", 8000)
    soundfile.write(tmp_path / "c.wav", np.array([0, np.nan]), 8000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"c\.wav holds NaN"):
        read_audio(tmp_path / "c.wav", 8000)


def test_numbers_that_are_no_signal_are_plotted() -> None:
    """Maps by their order, whatever their scale; few rows and vectors as curves."""
    values = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5000.0]] * 4)
    for y in (values, values.expand(3, -1, -1), 1e-6 * values, values * 1j, values.expand(2, 3, -1, -1)):
        shown = np.asarray(plot(y))
        assert shown.shape == (SIDE, SIDE, 3)
        levels = shown[SIDE // 16 :: SIDE // 8, SIDE // 6 :: SIDE // 3, 0][:2].ravel().tolist()
        assert levels == sorted(set(levels))  # the large one hides none
        assert (levels[0], levels[-1]) == (0, 255)
    curve = np.asarray(plot(torch.stack([torch.linspace(-7, 7, 400), torch.zeros(400)])))
    inked = (curve[: SIDE // 2] == INK).all(axis=-1)
    middle = np.argmax(inked, axis=0)
    assert (middle[0], middle[-1]) == (pytest.approx(SIDE / 2, abs=2), pytest.approx(0, abs=2))
    assert (np.diff(middle) <= 0).all()
    for y in (torch.zeros(6, 6), torch.zeros(5), torch.zeros(()), torch.zeros(1, 1)):
        assert plot(y).size == (SIDE, SIDE)
        assert np.array_equal(np.asarray(plot(y + torch.inf)), np.asarray(plot(y)))
    assert np.asarray(plot(1e30 * values.expand(2, 3, -1, -1))).max() == 255
