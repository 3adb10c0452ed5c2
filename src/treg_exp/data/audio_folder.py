"""The user's own audio files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from treg_exp.data.file_source import FileSource
from treg_exp.data.waveforms import Channels, Longer, Shorter, WaveformFit, read_waveform
from treg_exp.signals.audio import EXTENSIONS, check_rate, header


class AudioFolder(FileSource):
    """All WAV and FLAC files below a folder, in the order of their relative paths.

    Args:
        path: folder; subfolders are searched, hidden files are not.
        signal_shape: (C, T) of the prior's signals.
        sample_rate: of the prior's signals, in Hz; files of another one are refused.
        manifest: CSV or JSONL file with the texts of the files, or None for files without captions.
        longer: part of a file that is too long: ``start``, ``centre``, or ``refuse`` it.
        shorter: ``pad`` a file that is too short with zeros at its end, or ``refuse`` it.
        channels: of a file with more channels than signals have: the mean (``mix``), the ``first`` ones, or ``refuse``.
        verify: find unusable files early, see :class:`~treg_exp.data.file_source.FileSource`.

    Raises:
        FieldError: there is no such folder, no recording in it, another sample rate, or an unknown rule.
        FileError: a file or the manifest cannot be used.
    """

    extensions = EXTENSIONS
    medium: ClassVar[str] = "audio"

    def __init__(
        self,
        path: str | Path,
        signal_shape: Sequence[int],
        sample_rate: int,
        manifest: str | Path | None = None,
        longer: Longer = "start",
        shorter: Shorter = "pad",
        channels: Channels = "mix",
        verify: bool = True,
    ) -> None:
        self.signal_shape = tuple(signal_shape)
        self.sample_rate = sample_rate
        self.fit = WaveformFit(longer, shorter, channels)
        super().__init__(path, manifest, verify)

    def problem(self, file: Path) -> str | None:
        """See :class:`~treg_exp.data.file_source.FileSource`."""
        stored, reason = header(file)
        if reason is None:
            check_rate(file, stored, self.sample_rate)
        return reason

    def load(self, file: Path) -> Tensor:
        """The waveform as (C, T) in [-1, 1]."""
        return read_waveform(file, self.signal_shape, self.sample_rate, self.fit)
