"""Recordings of several sources, each source in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from treg_exp.data.audio_folder import AudioFolder
from treg_exp.data.listing import Listing, unique_ids
from treg_exp.data.waveforms import Channels, Longer, Shorter
from treg_exp.errors import FieldError


class StemFolder(AudioFolder):
    """One sample per folder of audio files, one file per source: ``<path>/<sample>/<stem>.wav``.

    A target is (K, C, T): the sources in the order of ``stems``. A manifest names a sample by its folder.

    Args:
        path: holds one folder per sample.
        signal_shape: (C, T) of one source, the prior's.
        sample_rate: see :class:`~treg_exp.data.audio_folder.AudioFolder`, as all that follows.
        stems: names of the files without their ending, in order; None for those of the first sample, sorted.
        manifest: texts of the samples.
        longer: rule for files that are too long.
        shorter: rule for files that are too short.
        channels: rule for files with too many channels.
        verify: find unusable files early.

    Raises:
        FieldError: a sample lacks a stem, or there are fewer than two.
        FileError: as there.
    """

    def __init__(
        self,
        path: str | Path,
        signal_shape: Sequence[int],
        sample_rate: int,
        stems: Sequence[str] | None = None,
        manifest: str | Path | None = None,
        longer: Longer = "start",
        shorter: Shorter = "pad",
        channels: Channels = "mix",
        verify: bool = True,
    ) -> None:
        self.stems = tuple(stems or ())
        super().__init__(path, signal_shape, sample_rate, manifest, longer, shorter, channels, verify)

    def find(self, listing: Listing) -> Mapping[str, str]:
        """The folders that hold audio files."""
        stems: dict[str, set[str]] = {}
        for path in listing.paths:
            folder, inside, name = path.rpartition("/")
            if not inside:
                raise FieldError(
                    "path", listing.root, f"{name} is in no folder of a sample; expected are <sample>/<stem>.wav"
                )
            stems.setdefault(folder, set()).add(Path(name).stem)
        self.stems = self.stems or tuple(sorted(next(iter(stems.values()))))
        if len(self.stems) < 2:
            raise FieldError("stems", ", ".join(self.stems), "a sample needs at least two sources")
        for folder, present in stems.items():
            if not present.issuperset(self.stems):
                self.sources(listing.root / folder)
        # With an ending that the id loses again, so that dots in the names of folders stay.
        folders = unique_ids(f"{folder}.sample" for folder in stems)
        return {sample_id: folder.removesuffix(".sample") for sample_id, folder in folders.items()}

    def sources(self, folder: Path) -> list[Path]:
        """The files of a sample, in the order of ``stems``."""
        found = (file for file in sorted(folder.iterdir()) if file.suffix.lower() in self.extensions and file.is_file())
        files = {file.stem: file for file in found}
        if missing := [stem for stem in self.stems if stem not in files]:
            raise FieldError("stems", ", ".join(self.stems), f"{folder} has no {missing[0]}, but {', '.join(files)}")
        return [files[stem] for stem in self.stems]

    def problem(self, file: Path) -> str | None:
        """See :class:`~treg_exp.data.file_source.FileSource`."""
        reasons = [reason for source in self.sources(file) if (reason := super(StemFolder, self).problem(source))]
        return reasons[0] if reasons else None

    def load(self, file: Path) -> Tensor:
        """The sources of a folder as (K, C, T) in [-1, 1]."""
        return torch.stack([super(StemFolder, self).load(source) for source in self.sources(file)])
