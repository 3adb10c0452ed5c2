"""The user's own images."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import Tensor

from treg_exp.data.file_source import FileSource
from treg_exp.data.pictures import (
    EXTENSIONS,
    Fit,
    check_colour,
    check_fit,
    check_header,
    check_size,
    read_rgb,
    resize,
    to_tensor,
)


class ImageFolder(FileSource):
    """All images below a folder, in the order of their relative paths; see ``docs/data.md``.

    Args:
        path: folder; subfolders are searched, hidden files are not.
        image_size: side of the square image in pixels (the prior's).
        manifest: CSV or JSONL file with the texts of the images, or None for images without captions.
        fit: how an image becomes square: ``crop``, ``pad`` or ``stretch``.
        background: colour under transparent pixels and around padded images (a CSS name or #rrggbb).
        verify: find unusable files early, see :class:`~treg_exp.data.file_source.FileSource`.

    Raises:
        FieldError: there is no such folder, or no image in it, or a value is unknown.
        FileError: an image or the manifest cannot be used.
    """

    extensions = EXTENSIONS
    medium: ClassVar[str] = "image"

    def __init__(
        self,
        path: str | Path,
        image_size: int,
        manifest: str | Path | None = None,
        fit: Fit = "crop",
        background: str = "white",
        verify: bool = True,
    ) -> None:
        check_size(image_size)
        check_fit(fit)
        check_colour(background)
        self.image_size = image_size
        self.fit: Fit = fit
        self.background = background
        super().__init__(path, manifest, verify)

    def problem(self, file: Path) -> str | None:
        """See :class:`~treg_exp.data.file_source.FileSource`."""
        return check_header(file)

    def load(self, file: Path) -> Tensor:
        """The image as (3, image_size, image_size) in [-1, 1]."""
        return to_tensor(resize(read_rgb(file, self.background), self.image_size, self.fit, self.background))
