"""Audio files as signals of the prior's shape."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from treg_exp.data.audio_folder import AudioFolder
from treg_exp.data.base import subset
from treg_exp.data.measurements import MeasurementFolder
from treg_exp.data.stems import StemFolder
from treg_exp.errors import FieldError, FileError

RATE, SHAPE = 8000, (1, 16)


def write(file: Path, *channels: list[float], rate: int = RATE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, np.array(channels).T, rate, subtype="FLOAT" if file.suffix == ".wav" else "PCM_24")


def ramp(length: int) -> list[float]:
    return [i / 32 for i in range(length)]


def first(source: AudioFolder) -> list[float]:
    target = source[0].target
    assert target is not None
    assert target.dtype == torch.float32
    return target[0].tolist()


def test_rules_of_length(tmp_path: Path) -> None:
    write(tmp_path / "long" / "a.wav", ramp(20))
    write(tmp_path / "short" / "a.flac", ramp(12))
    assert first(AudioFolder(tmp_path / "long", SHAPE, RATE)) == ramp(20)[:16]
    assert first(AudioFolder(tmp_path / "long", SHAPE, RATE, longer="centre")) == ramp(20)[2:18]
    assert first(AudioFolder(tmp_path / "short", SHAPE, RATE)) == ramp(12) + [0] * 4
    for folder, rule, told in (("long", {"longer": "refuse"}, 20), ("short", {"shorter": "refuse"}, 12)):
        source = AudioFolder(tmp_path / folder, SHAPE, RATE, **rule)  # type: ignore[arg-type]
        with pytest.raises(FileError, match=f"has {told} samples, and signals have 16"):
            subset(source)
    with pytest.raises(FieldError, match="longer=middle: must be one of start, centre, refuse"):
        AudioFolder(tmp_path / "long", SHAPE, RATE, longer="middle")  # type: ignore[arg-type]


def test_rules_of_channels(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", ramp(16), [0.0] * 16)
    assert first(AudioFolder(tmp_path, SHAPE, RATE)) == [x / 2 for x in ramp(16)]
    assert first(AudioFolder(tmp_path, SHAPE, RATE, channels="first")) == ramp(16)
    assert AudioFolder(tmp_path, (2, 16), RATE)[0].target.shape == (2, 16)  # type: ignore[union-attr]
    with pytest.raises(FileError, match="has 2 channels, and signals have 1"):
        subset(AudioFolder(tmp_path, SHAPE, RATE, channels="refuse"))
    with pytest.raises(FileError, match="has 2 channels, and signals have 3"):
        subset(AudioFolder(tmp_path, (3, 16), RATE))


def test_unusable_files_are_named_before_a_run(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", ramp(16))
    write(tmp_path / "b.wav", [2.0] * 16)
    with pytest.raises(FileError, match=r"b\.wav has values up to 2; signals are in \[-1, 1\]"):
        subset(AudioFolder(tmp_path, SHAPE, RATE))
    (tmp_path / "b.wav").write_text("no audio")
    with pytest.raises(FileError, match=r"1 of 2 files .* cannot be used: b\.wav"):
        subset(AudioFolder(tmp_path, SHAPE, RATE))
    write(tmp_path / "b.wav", ramp(16), rate=44100)
    with pytest.raises(FieldError, match=r"sample_rate=44100: .*resample it"):
        subset(AudioFolder(tmp_path, SHAPE, RATE))
    assert len(AudioFolder(tmp_path, SHAPE, RATE, verify=False)) == 2


def test_texts_of_a_manifest(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.wav", ramp(16))
    (tmp_path / "m.csv").write_text("file,caption\na.wav,a ramp\n")
    assert AudioFolder(tmp_path / "in", SHAPE, RATE, manifest=tmp_path / "m.csv").captions(0) == {"caption": "a ramp"}


def test_stems_are_stacked_in_the_order_of_their_names(tmp_path: Path) -> None:
    for song, scale in (("one.v1", 1.0), ("two", 0.5)):
        write(tmp_path / song / "drums.wav", [0.25 * scale] * 16)
        write(tmp_path / song / "bass.flac", [0.5 * scale] * 20)
    source = StemFolder(tmp_path, SHAPE, RATE)
    assert list(source.ids) == ["one.v1", "two"]
    assert source.stems == ("bass", "drums")
    target = subset(source)[1].target
    assert target is not None
    assert target.shape == (2, 1, 16)
    assert target[:, 0, 0].tolist() == [0.25, 0.125]
    assert StemFolder(tmp_path, SHAPE, RATE, stems=["drums", "bass"])[0].target[0, 0, 0] == 0.25  # type: ignore[index]
    (tmp_path / "m.csv").write_text("file,caption\ntwo,a song\n")
    with pytest.raises(FieldError, match=r"stems=bass, drums, piano: .*one.v1 has no piano, but bass, drums"):
        StemFolder(tmp_path, SHAPE, RATE, stems=["bass", "drums", "piano"])
    with pytest.raises(FieldError, match="at least two sources"):
        StemFolder(tmp_path, SHAPE, RATE, stems=["bass"])
    write(tmp_path / "loose.wav", ramp(16))
    with pytest.raises(FieldError, match=r"loose\.wav is in no folder of a sample"):
        StemFolder(tmp_path, SHAPE, RATE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_stem(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "song" / f"{name}.wav", ramp(16))
    os.mkfifo(tmp_path / "song" / "c.wav")
    data = StemFolder(tmp_path, SHAPE, RATE)
    assert (data.stems, data.left_out) == (("a", "b"), f"1 file of {tmp_path} left out: 1 pipe or device")
    with pytest.raises(FieldError, match=r"song has no c, but a, b$"):
        StemFolder(tmp_path, SHAPE, RATE, stems=("a", "c"))


def test_real_measurements(tmp_path: Path) -> None:
    write(tmp_path / "mix.wav", [1.5] * 12)
    y = MeasurementFolder(tmp_path, sample_rate=RATE)[0].measurement
    assert y is not None
    assert y.tolist() == [[1.5] * 12]  # a mixture may leave [-1, 1]
    with pytest.raises(FileError, match="an audio file, and the prior makes no audio"):
        subset(MeasurementFolder(tmp_path))
