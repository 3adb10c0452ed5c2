"""The pictures of the quickstart: few, chosen by hand, each with its task and three texts that it could be."""

from __future__ import annotations

from pathlib import Path

from treg_exp.data.packaged import PackagedImages
from treg_exp.shipped import ASSETS

PACKAGED = ASSETS / "gallery"


class Gallery(PackagedImages):
    """The packaged gallery, in the order of its table; see its README.

    Args:
        image_size: side of the square image in pixels; the stored ones have 64 and are not resampled at 64.
        path: folder with ``captions.csv`` and ``images/``; None for the packaged one.

    Raises:
        FieldError: there is no such folder.
        FileError: the folder has no table, or the table names images that are not there.
    """

    def __init__(self, image_size: int = 64, path: str | Path | None = None) -> None:
        super().__init__(PACKAGED if path is None else path, image_size)
