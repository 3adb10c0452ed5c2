"""The emoji pictures as one tensor with descriptions, cached on disk."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from treg_exp.configuration.places import one_line
from treg_exp.errors import FieldError
from treg_exp.recipes.emoji64.augment import may_flip
from treg_exp.recipes.emoji64.captions import STYLES
from treg_exp.recipes.emoji64.iconify import names_by_codepoint, read_icon_set
from treg_exp.recipes.emoji64.sources import ALL_ARTWORKS, ARTWORKS, ICON_SETS, Picture, fetch, read_artwork
from treg_exp.recipes.emoji64.split import HELD_OUT, TEST, Split, draw_split


@dataclass(frozen=True)
class Corpus:
    """Pictures, what they show, and which of them no training may see.

    Attributes:
        images: (N, 3, 64, 64) uint8.
        pictures: N descriptions in the same order.
        split: positions of the training, held-out and test pictures.
    """

    images: Tensor
    pictures: tuple[Picture, ...]
    split: Split

    def __deepcopy__(self, memo: dict[int, object]) -> Corpus:
        """Itself: it never changes, and averaging the weights of a training copies whatever belongs to it."""
        return self

    @cached_property
    def names(self) -> list[str]:
        """All distinct names, sorted; the label space of retrieval."""
        return sorted({picture.name for picture in self.pictures})

    @cached_property
    def labels(self) -> Tensor:
        """(N,) int64: position of each picture's name in `names`."""
        position = {name: index for index, name in enumerate(self.names)}
        return torch.tensor([position[picture.name] for picture in self.pictures])

    @cached_property
    def styles(self) -> Tensor:
        """(N,) int64: position of each picture's style in `STYLES`."""
        return torch.tensor([STYLES.index(picture.style) for picture in self.pictures])

    @cached_property
    def flippable(self) -> Tensor:
        """(N,) bool: whether a picture may be mirrored."""
        return torch.tensor([may_flip(picture) for picture in self.pictures])

    def as_float(self, indices: Tensor) -> Tensor:
        """Pictures in [-1, 1].

        Args:
            indices: (B,) int64 positions.

        Returns:
            (B, 3, 64, 64) float32.
        """
        return self.images[indices].float() / 127.5 - 1.0


@dataclass(frozen=True)
class CorpusFolder:
    """Where the corpus is kept, and how much of it no stage may see.

    Attributes:
        data_dir: folder for tarballs, unpacked packages and the cache, which is filled on first use; or a file that
            `pack` has written.
        held_out: pictures that no stage sees.
        test: how many of these are the test set.
    """

    data_dir: str | Path
    held_out: int = HELD_OUT
    test: int = TEST

    def load(self) -> Corpus:
        """The corpus with its split, read once per process; artworks that are missing are fetched with npm."""
        return _load(Path(self.data_dir), self.held_out, self.test)


@lru_cache(maxsize=1)  # data module and objective of a stage ask for the same one
def _load(data_dir: Path, held_out: int, test: int) -> Corpus:
    array_file, text_file = data_dir / "pictures.npz", data_dir / "pictures.json"
    if packed := data_dir.is_file():
        array_file = data_dir
    elif not (array_file.is_file() and text_file.is_file()):
        _build_cache(data_dir, array_file, text_file)
    with np.load(array_file) as arrays:
        try:
            images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2).contiguous()
            raw = json.loads(arrays["descriptions"].tobytes() if packed else text_file.read_text())
        except KeyError as error:
            raise FieldError("data_dir", str(data_dir), f"{one_line(error)}: not written by pack") from None
    pictures = tuple(Picture(**{**entry, "aliases": tuple(entry["aliases"])}) for entry in raw)
    return Corpus(images, pictures, draw_split(pictures, held_out, test))


def pack(corpus: Corpus, file: Path) -> Path:
    """Write all drawings with their descriptions into one file, for a machine without network.

    `CorpusFolder` reads it in the place of a folder, with the same split.

    Args:
        corpus: what to write, 10,488 pictures: 32 MB.
        file: to write, ``.npz``.
    """
    if file.suffix != ".npz":
        raise FieldError("pack_file", str(file), "must end in .npz")
    descriptions = json.dumps([asdict(picture) for picture in corpus.pictures]).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.npz")
    np.savez_compressed(
        partial,
        images=corpus.images.permute(0, 2, 3, 1).contiguous().numpy(),
        descriptions=np.frombuffer(descriptions, dtype=np.uint8),
    )
    os.replace(partial, file)
    return file


def _build_cache(data_dir: Path, array_file: Path, text_file: Path) -> None:
    packages = {artwork.style: fetch(artwork, data_dir) for artwork in ALL_ARTWORKS}
    catalogue = packages["noto"] / "emoji.json"
    found = [pair for artwork in ARTWORKS for pair in read_artwork(artwork, packages[artwork.style], catalogue)]
    known, common = {picture.name for picture, _ in found}, names_by_codepoint(packages["flat"])
    for artwork in ICON_SETS:
        icons = read_icon_set(artwork, packages[artwork.style], catalogue, common)
        found += [(picture, image) for picture, image in icons if picture.name in known]
    pictures = _unique_ids([picture for picture, _ in found])
    counts = Counter(picture.style for picture in pictures)
    print("pictures: " + ", ".join(f"{count} {style}" for style, count in counts.items()), flush=True)
    partial = array_file.with_suffix(".partial.npz")
    np.savez_compressed(partial, images=np.stack([image for _, image in found]))
    text_file.write_text(json.dumps([asdict(picture) for picture in pictures], indent=0))
    os.replace(partial, array_file)  # last: its presence says that the cache is whole


def _unique_ids(pictures: list[Picture]) -> list[Picture]:
    seen: dict[str, int] = {}
    unique = []
    for picture in pictures:
        count = seen[picture.sample_id] = seen.get(picture.sample_id, 0) + 1
        unique.append(picture if count == 1 else replace(picture, sample_id=f"{picture.sample_id}-{count}"))
    return unique
