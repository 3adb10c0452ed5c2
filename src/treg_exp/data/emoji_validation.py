"""The validation set that comes with the package: settings are chosen on it, and reported on the test set."""

from __future__ import annotations

from pathlib import Path

from treg_exp.data.packaged import PackagedImages
from treg_exp.shipped import ASSETS

PACKAGED = ASSETS / "emoji_validation"


class EmojiValidation(PackagedImages):
    """Held-out pictures that are not in the test set, in the order of their table.

    Args:
        image_size: side of the square image in pixels; the stored ones have 64 and are not resampled at 64.
        path: folder with ``captions.csv`` and ``images/``; None for the packaged one.

    Raises:
        FieldError: there is no such folder.
        FileError: the folder has no table, or the table names images that are not there.
    """

    def __init__(self, image_size: int = 64, path: str | Path | None = None) -> None:
        super().__init__(PACKAGED if path is None else path, image_size)
