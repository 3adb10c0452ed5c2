"""Audio: waveforms (C, T), kept as WAV with 32-bit floats, which holds every value as it is."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.signals.base import DEVIATION_SCALE, Medium
from treg_exp.signals.plots import SIDE, below_each_other, spectrogram, waveform

if TYPE_CHECKING:
    from PIL.Image import Image

EXTENSIONS = (".wav", ".flac")


class AudioMedium(Medium):
    """Waveforms of one sample rate.

    Args:
        sample_rate: in Hz.

    Raises:
        FieldError: there is no sample rate.
    """

    name: ClassVar[str] = "audio"
    noun: ClassVar[str] = "clip"
    suffix: ClassVar[str] = ".wav"
    axes: ClassVar[int] = 2
    deviation_note: ClassVar[str] = f"full height: {DEVIATION_SCALE:g} or more"

    def __init__(self, sample_rate: int | None) -> None:
        if sample_rate is None or sample_rate < 1:
            raise FieldError("sample_rate", sample_rate, "audio needs its sample rate in Hz")
        self.sample_rate = sample_rate

    def holds(self, shape: Sequence[int]) -> bool:
        """See ``Medium``."""
        return len(shape) == 2

    def keeps(self, shape: Sequence[int], signal_shape: Sequence[int]) -> bool:
        """See ``Medium``; one of another length has another sample rate, if it has one."""
        return self.holds(shape) and shape[-1] == signal_shape[-1]

    def encode(self, signal: Tensor) -> bytes:
        """See ``Medium``."""
        import soundfile

        buffer = io.BytesIO()
        frames = signal.detach().float().cpu().T.contiguous().numpy()
        soundfile.write(buffer, frames, self.sample_rate, format="WAV", subtype="FLOAT")
        content = bytearray(buffer.getvalue())
        if (peak := content.find(b"PEAK", 0, content.index(b"data"))) > 0:
            content[peak + 12 : peak + 16] = bytes(4)  # the time of writing: equal signals shall make equal files
        return bytes(content)

    def decode(self, file: Path) -> Tensor:
        """See ``Medium``."""
        return read_audio(file, self.sample_rate)

    def picture(self, signal: Tensor) -> Image:
        """Waveform above spectrogram, the mean of the channels; of several sources one such pair below the other."""
        sources = signal if self.stacked(signal.shape) else signal[None]
        height = SIDE // (2 * len(sources))
        mono = sources.detach().float().cpu().mean(dim=1)
        return below_each_other([plot(source, height) for source in mono for plot in (waveform, spectrogram)])

    def deviation_picture(self, deviation: Tensor) -> Image:
        """A band of twice the deviation around zero."""
        band = deviation.square().mean(dim=0).sqrt() / DEVIATION_SCALE
        return waveform(torch.stack([band, -band], dim=1).flatten(), SIDE)


def read_audio(file: Path, sample_rate: int) -> Tensor:
    """The waveform (C, T) of a file, float32; integers become [-1, 1).

    Raises:
        FieldError: another sample rate.
        ValueError: the file cannot be read, or holds values that are not finite.
    """
    import soundfile

    try:
        frames, stored = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"cannot read the audio file {file}: {error}") from error
    check_rate(file, stored, sample_rate)
    x = torch.from_numpy(frames).T.contiguous()
    if not x.isfinite().all():
        raise ValueError(f"{file} holds NaN or infinite values")
    return x


def header(file: Path) -> tuple[int, str | None]:
    """Sample rate of an audio file, and why it cannot be used, or None; nothing is decoded."""
    import soundfile

    try:
        return int(soundfile.info(file).samplerate), None
    except (soundfile.SoundFileError, OSError) as error:
        return 0, str(error)


def check_rate(file: Path, stored: int, wanted: int) -> None:
    """Refuse a file of another sample rate: which filter resamples it is for its owner to decide.

    Raises:
        FieldError: it has one.
    """
    if stored != wanted:
        convert = f"ffmpeg -i {quote(file.name)} -ar {wanted} {quote(f'{file.stem}-{wanted}.wav')}"
        raise FieldError(
            "sample_rate",
            stored,
            f"{file} has {stored} Hz, and the prior makes audio of {wanted} Hz; resample it, for example: {convert}",
        )
