"""Real measurements: what a camera or a scanner gave, without a known target."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from torch import Tensor

from treg_exp.data import arrays, pictures
from treg_exp.data.file_source import FileSource
from treg_exp.errors import FieldError, FileError
from treg_exp.signals import audio

Colour = Literal["rgb", "grey"]


class MeasurementFolder(FileSource):
    """All measurements below a folder, in the order of their relative paths; see ``docs/data.md``.

    An image file becomes (3, h, w) or (1, h, w) in [-1, 1] at its own size. An array file (``.npy``, ``.npz``
    or ``.pt``, the latter two with the key ``y`` or a single entry) is taken as it is: floating point, no
    batch axis, in the shape and the [-1, 1] units of the operator's output. An audio file becomes (C, T) at its own
    length.

    Args:
        path: folder; subfolders are searched, hidden files are not.
        colour: how image files are read, ``rgb`` or ``grey``.
        manifest: CSV or JSONL file with texts, or None.
        verify: find unusable files early, see :class:`~treg_exp.data.file_source.FileSource`.
        sample_rate: of the prior's signals, in Hz; None refuses audio files.

    Raises:
        FieldError: there is no such folder, or no measurement in it.
        FileError: a file or the manifest cannot be used.
    """

    extensions = pictures.EXTENSIONS + arrays.EXTENSIONS + audio.EXTENSIONS
    measured = True

    def __init__(
        self,
        path: str | Path,
        colour: Colour = "rgb",
        manifest: str | Path | None = None,
        verify: bool = True,
        sample_rate: int | None = None,
    ) -> None:
        if colour not in get_args(Colour):
            raise FieldError("colour", colour, f"unknown; choose one of: {', '.join(get_args(Colour))}")
        self.colour = colour
        self.sample_rate = sample_rate
        super().__init__(path, manifest, verify)

    def problem(self, file: Path) -> str | None:
        """See :class:`~treg_exp.data.file_source.FileSource`."""
        if file.suffix.lower() in audio.EXTENSIONS:
            return audio.header(file)[1]
        return arrays.check_header(file) if _is_array(file) else pictures.check_header(file)

    def load(self, file: Path) -> Tensor:
        """The measurement y in the shape of the file: an image is (3, h, w) or (1, h, w) in [-1, 1]."""
        if file.suffix.lower() in audio.EXTENSIONS:
            if self.sample_rate is None:
                raise FileError(f"{file} is an audio file, and the prior makes no audio")
            return audio.read_audio(file, self.sample_rate)
        if _is_array(file):
            return arrays.read_array(file)
        image = pictures.read_rgb(file, background=None)  # an invented background would be invented data
        return pictures.to_tensor(image.convert("L") if self.colour == "grey" else image)


def _is_array(file: Path) -> bool:
    return file.suffix.lower() in arrays.EXTENSIONS
