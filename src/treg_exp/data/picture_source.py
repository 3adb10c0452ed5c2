"""Pictures that are no files of their own: rows of a table, members of an archive."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from treg_exp.data.checked import CheckedSource
from treg_exp.data.decoding import Stored
from treg_exp.data.listing import LONGEST_ID
from treg_exp.data.manifest import CAPTION, TEXT
from treg_exp.data.pictures import Fit, check_colour, check_fit, check_header, check_size, read_rgb, resize, to_tensor
from treg_exp.errors import FileError


class PictureSource(CheckedSource):
    """Pictures by number; they become tensors as those of `data=folder`.

    Args:
        image_size: side of the square picture in pixels (the prior's).
        fit: how a picture becomes square: ``crop``, ``pad`` or ``stretch``.
        background: colour under transparent pixels and around padded pictures (a CSS name or #rrggbb).
        verify: look into the selected pictures before a model is loaded.

    Raises:
        FieldError: a value is unknown.
    """

    medium: ClassVar[str] = "image"
    noun: ClassVar[str] = "pictures"

    def __init__(self, image_size: int, fit: Fit, background: str, verify: bool) -> None:
        check_size(image_size)
        check_fit(fit)
        check_colour(background)
        self.image_size, self.background, self.verify = image_size, background, verify
        self.fit: Fit = fit

    @abstractmethod
    def content(self, index: int) -> Stored:
        """The picture as it is stored.

        Raises:
            FileError: there is none, or it cannot be read.
        """

    def reason(self, index: int) -> str | None:
        """See :class:`~treg_exp.data.checked.CheckedSource`."""
        try:
            return check_header(self.content(index))
        except FileError as error:
            return str(error)

    def signal(self, index: int) -> Tensor:
        """The picture as (3, image_size, image_size) in [-1, 1]."""
        picture = read_rgb(self.content(index), self.background, f"{self.name(index)} of {self.place}")
        return to_tensor(resize(picture, self.image_size, self.fit, self.background))


def texts_of(found: Iterable[tuple[str, object]]) -> dict[str, str]:
    """Texts by role, without what is no text or empty.

    >>> texts_of([("caption", " a cat"), ("label", 3), ("style", " ")])
    {'caption': 'a cat'}
    """
    return {role: text.strip() for role, text in found if isinstance(text, str) and text.strip()}


def text_is_caption(names: Iterable[str]) -> dict[str, str]:
    """Names that are roles, by role: ``text`` is the caption where nothing else is, as for Hugging Face."""
    names = list(names)
    return {CAPTION if name == TEXT and CAPTION not in names else name: name for name in names}


def unique(ids: Iterable[str], hint: str = "") -> list[str]:
    """The ids as a list; ``hint`` is what helps where two are the same.

    Raises:
        FileError: two are the same, or one is too long for a folder's name.
    """
    seen: dict[str, int] = {}
    for index, sample_id in enumerate(ids):
        if (first := seen.setdefault(sample_id, index)) != index:
            raise FileError(f"samples {first} and {index} (from 0) would both be {sample_id!r}{hint}")
        if len(sample_id) > LONGEST_ID:
            raise FileError(
                f"sample {index} (from 0): its id has {len(sample_id)} characters, a folder name can have {LONGEST_ID}"
            )
    return list(seen)
