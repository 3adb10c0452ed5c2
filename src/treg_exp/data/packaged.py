"""Images that come with the package, with a table of their texts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from treg_exp.data.folder import ImageFolder
from treg_exp.data.listing import first_few
from treg_exp.errors import FileError


class PackagedImages(ImageFolder):
    """``images/`` and ``captions.csv`` of a folder, in the order of the table.

    Args:
        image_size: side of the square image in pixels; the stored ones have 64 and are not resampled at 64.
        path: another folder of this layout, None for the packaged one.

    Raises:
        FieldError: there is no such folder.
        FileError: the folder has no table, or the table names images that are not there.
    """

    packaged: ClassVar[Path]  # the folder that comes with the package

    def __init__(self, image_size: int = 64, path: str | Path | None = None) -> None:
        root = self.packaged if path is None else Path(path).expanduser()
        super().__init__(root / "images", image_size, manifest=root / "captions.csv")
        # Rows without an image are no mistake in a user's manifest. Here they are: the set would be another one.
        missing = [f"{sample_id}.png" for sample_id in self._texts if sample_id not in self.files]
        if missing:
            raise FileError(f"the set {root} is incomplete: {len(missing)} images such as {first_few(missing)}")
        self._ids = list(self._texts)
