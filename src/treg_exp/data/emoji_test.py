"""The test set that comes with the package: 64x64 pictures, their captions and counterfactual captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from treg_exp.data.manifest import match, read_manifest
from treg_exp.data.pictures import read_rgb, resize, to_tensor
from treg_exp.errors import ConfigError
from treg_exp.types import Sample

PACKAGED = Path(__file__).parents[1] / "assets" / "emoji_test"
ROLES = ("caption", "counterfactual")


class EmojiTest:
    """The packaged test set, in the order of its table: samples with a counterfactual come first.

    Args:
        image_size: side of the square image in pixels; the stored ones have 64 and are not resampled at 64.
        only: keep the samples that have a text in this role (``counterfactual``), None for all.
        path: folder with ``captions.csv`` and ``images/``; None for the packaged one.

    Raises:
        ConfigError: the folder has no table, no sample is left, or the table names images that are not there.
    """

    def __init__(self, image_size: int = 64, only: str | None = None, path: str | Path | None = None) -> None:
        root = PACKAGED if path is None else Path(path)
        self.image_size = image_size
        self._folder = root / "images"
        texts = read_manifest(root / "captions.csv")
        stored = {file.stem: file.name for file in sorted(self._folder.glob("*.png"))}
        match(texts, stored, root / "captions.csv")
        missing = [sample_id for sample_id in texts if sample_id not in stored]
        if missing:
            raise ConfigError(f"the test set {root} is incomplete: {len(missing)} images such as {missing[0]}.png")
        # The other columns (name, style, category) describe the picture; they are no texts to restore with.
        self._texts = {
            sample_id: {role: roles[role] for role in ROLES if role in roles}
            for sample_id, roles in texts.items()
            if only is None or (only in ROLES and only in roles)
        }
        if not self._texts:
            raise ConfigError(f"data.only={only!r}: no sample has such a text; the roles are {', '.join(ROLES)}")
        self._ids = list(self._texts)

    @property
    def ids(self) -> Sequence[str]:
        """See :class:`~treg_exp.data.base.Source`."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def captions(self, index: int) -> Mapping[str, str]:
        """See :class:`~treg_exp.data.base.Source`."""
        return self._texts[self._ids[index]]

    def __getitem__(self, index: int) -> Sample:
        sample_id = self._ids[index]
        image = read_rgb(self._folder / f"{sample_id}.png")
        target = to_tensor(resize(image, self.image_size))
        return Sample(sample_id, target=target, captions=self.captions(index))
