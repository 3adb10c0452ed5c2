"""The user's own images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from treg_exp.data.listing import check_files, list_files
from treg_exp.data.manifest import match, read_manifest
from treg_exp.data.pictures import (
    EXTENSIONS,
    Fit,
    check_colour,
    check_fit,
    check_header,
    read_rgb,
    resize,
    to_tensor,
)
from treg_exp.types import Sample


class ImageFolder:
    """All images below a folder, in the order of their relative paths; see ``docs/data.md``.

    Args:
        path: folder; subfolders are searched, hidden files are not.
        image_size: side of the square image in pixels (the prior's).
        manifest: CSV or JSONL file with the texts of the images, or None for images without captions.
        fit: how an image becomes square: ``crop``, ``pad`` or ``stretch``.
        background: colour under transparent pixels and around padded images (a CSS name or #rrggbb).
        verify: check every header now. False starts faster on very large folders; a broken file is then found
            when its turn comes.

    Raises:
        ConfigError: folder or manifest do not exist, or there are no, unusable or unlisted images.
    """

    def __init__(
        self,
        path: str | Path,
        image_size: int,
        manifest: str | Path | None = None,
        fit: Fit = "crop",
        background: str = "white",
        verify: bool = True,
    ) -> None:
        check_fit(fit)
        check_colour(background)
        self.files = list_files(path, EXTENSIONS)
        if verify:
            check_files(path, list(self.files.values()), check_header)
        self.image_size = image_size
        self.fit: Fit = fit
        self.background = background
        self._ids = list(self.files)
        self._texts: dict[str, dict[str, str]] = {}
        if manifest is not None:
            self._texts = read_manifest(manifest)
            match(self._texts, {sample_id: file.name for sample_id, file in self.files.items()}, manifest)

    @property
    def ids(self) -> Sequence[str]:
        """See :class:`~treg_exp.data.base.Source`."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def captions(self, index: int) -> Mapping[str, str]:
        """See :class:`~treg_exp.data.base.Source`."""
        return self._texts.get(self._ids[index], {})

    def __getitem__(self, index: int) -> Sample:
        sample_id = self._ids[index]
        image = read_rgb(self.files[sample_id], self.background)
        target = to_tensor(resize(image, self.image_size, self.fit, self.background))
        return Sample(sample_id, target=target, captions=self.captions(index))
