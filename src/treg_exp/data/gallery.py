"""The pictures of the quickstart: few, chosen by hand, each with its task and three texts that it could be."""

from __future__ import annotations

from pathlib import Path

from treg_exp.data.folder import ImageFolder

PACKAGED = Path(__file__).parents[1] / "assets" / "gallery"


class Gallery(ImageFolder):
    """The packaged gallery, in the order of its table; see its README.

    Args:
        image_size: side of the square image in pixels; the stored ones have 64 and are not resampled at 64.
        path: folder with ``captions.csv`` and ``images/``; None for the packaged one.

    Raises:
        FieldError: there is no such folder.
        FileError: an image or the table cannot be used.
    """

    def __init__(self, image_size: int = 64, path: str | Path | None = None) -> None:
        root = PACKAGED if path is None else Path(path).expanduser()
        super().__init__(root / "images", image_size, manifest=root / "captions.csv")
        self._ids = [sample_id for sample_id in self._texts if sample_id in self.files]
