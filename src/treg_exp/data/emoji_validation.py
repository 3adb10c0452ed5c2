"""The validation set that comes with the package: settings are chosen on it, and reported on the test set."""

from __future__ import annotations

from treg_exp.data.packaged import PackagedImages
from treg_exp.shipped import ASSETS


class EmojiValidation(PackagedImages):
    """Held-out pictures that are not in the test set, in the order of their table."""

    packaged = ASSETS / "emoji_validation"
