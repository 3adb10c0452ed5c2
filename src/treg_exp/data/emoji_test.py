"""The test set that comes with the package: 64x64 pictures, their captions and counterfactual captions."""

from __future__ import annotations

from pathlib import Path

from treg_exp.data.packaged import PackagedImages
from treg_exp.errors import FieldError
from treg_exp.shipped import ASSETS

#: What a caption consists of is a text as well: the judge compares with bare names, controls use style or category.
ROLES = ("caption", "counterfactual", "name", "counterfactual_name", "style", "category")


class EmojiTest(PackagedImages):
    """The packaged test set, in the order of its table.

    Args:
        image_size: side of the square image in pixels; the stored ones have 64 and are not resampled at 64.
        only: keep the samples that have a text in this role (``counterfactual``), None for all.
        path: folder with ``captions.csv`` and ``images/``; None for the packaged one.

    Raises:
        FieldError: there is no such folder, or no sample is left.
        FileError: the folder has no table, or the table names images that are not there.
    """

    packaged = ASSETS / "emoji_test"

    def __init__(self, image_size: int = 64, only: str | None = None, path: str | Path | None = None) -> None:
        super().__init__(image_size, path)
        # The other columns (figures) are no texts to restore or to compare with.
        self._texts = {
            sample_id: {role: texts[role] for role in ROLES if role in texts}
            for sample_id, texts in self._texts.items()
            if only is None or (only in ROLES and only in texts)
        }
        if not self._texts:
            raise FieldError("only", only, f"no sample has such a text; the roles are {', '.join(ROLES)}")
        self._ids = list(self._texts)
