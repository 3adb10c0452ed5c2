"""What the sources of files have in common: texts, loading, and a look at what a run selects before it begins."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from treg_exp.data.listing import first_few
from treg_exp.data.sample import Sample
from treg_exp.errors import FileError

BAR_AFTER = 5.0  # seconds that a look at the files may take without a word


class CheckedSource(ABC):
    """A :class:`~treg_exp.data.base.Source` that can find unusable samples before a run.

    Attributes:
        medium: of the signals, None for any.
        measured: whether :meth:`signal` gives the measurement of a sample; else it gives the target.
        not_identity: values that change no restoration.
        noun: what the samples are, for messages.
        verify: look into the selected samples before a model is loaded, see :meth:`check`.
    """

    medium: ClassVar[str | None] = None
    measured: ClassVar[bool] = False
    not_identity: ClassVar[tuple[str, ...]] = ("verify",)
    noun: ClassVar[str] = "files"
    verify: bool

    @property
    @abstractmethod
    def ids(self) -> Sequence[str]:
        """See :class:`~treg_exp.data.base.Source`."""

    @abstractmethod
    def captions(self, index: int) -> Mapping[str, str]:
        """See :class:`~treg_exp.data.base.Source`."""

    @abstractmethod
    def signal(self, index: int) -> Tensor:
        """One sample as a float32 tensor without a batch axis.

        Raises:
            FileError: it cannot be used; the message names it. Any other ValueError counts as one.
        """

    def reason(self, index: int) -> str | None:
        """Why a sample cannot be used, judged without decoding it, or None."""
        return None

    @abstractmethod
    def name(self, index: int) -> str:
        """The sample as a user knows it, such as its path below the folder."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the samples are, for messages."""

    @property
    def left_out(self) -> str:
        """What else is there, in words; nothing where all is read."""
        return ""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        tensor, captions = self.signal(index), self.captions(index)
        if self.measured:
            return Sample(self.ids[index], measurement=tensor, captions=captions)
        return Sample(self.ids[index], target=tensor, captions=captions)

    def check(self, indices: Sequence[int]) -> None:
        """Load these samples once: headers do not show truncated pixels, NaN, or a shape unlike the others'.

        Raises:
            FileError: samples that are refused without decoding; else the first that cannot be loaded, with the names
                of the others; or two of different shapes.
        """
        from tqdm import tqdm

        unusable: list[str] = []
        broken: dict[str, str] = {}
        shapes: dict[tuple[int, ...], str] = {}
        looked = tqdm(
            indices, desc="checking the data", unit=self.noun[:-1], delay=BAR_AFTER, leave=False, file=sys.stderr,
            mininterval=0.5 if sys.stderr.isatty() else 30,
        )  # fmt: skip
        for index in looked:
            if (why := self.reason(index)) is not None:
                unusable.append(f"{self.name(index)} ({why})")
            if unusable:  # all of them are named, and nothing needs to be decoded any more
                continue
            try:
                shapes.setdefault(tuple(self.signal(index).shape), self.name(index))
            except ValueError as error:
                broken[self.name(index)] = str(error)
        if unusable:
            raise FileError(
                f"{len(unusable)} of {len(indices)} {self.noun} in {self.place} cannot be used: {first_few(unusable)}. "
                "Repair them or take them out of the folder."
            )
        if broken:
            (_, first), *others = broken.items()
            more = f" {len(others)} more cannot be used: {first_few([name for name, _ in others])}" if others else ""
            raise FileError(first + more)
        if len(shapes) > 1:
            (shape, name), (other_shape, other_name), *_ = shapes.items()
            raise FileError(
                f"{name} has the shape {shape}, but {other_name} has {other_shape}; all samples of a run must have "
                f"one shape: put them into folders of their own below {self.place}, and restore each in its own run"
            )
