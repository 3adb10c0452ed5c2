"""What a data set is to the framework, and how a part of one is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, overload

from treg_exp.data.checked import CheckedSource
from treg_exp.data.sample import Sample
from treg_exp.errors import FieldError


class Source(Protocol):
    """A data set whose listing is cheap and whose pixels are read on access.

    Attributes:
        ids: one unique, folder-safe name per sample, in order.
    """

    @property
    def ids(self) -> Sequence[str]:
        """Sample names; known without opening an image."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def captions(self, index: int) -> Mapping[str, str]:
        """Texts of one sample by role; known without opening an image."""
        ...


class Subset:
    """The samples ``[start, stop)`` of another source; see :func:`subset`."""

    def __init__(self, source: Source, start: int, stop: int) -> None:
        self.source = source
        self.indices = range(start, stop)
        self._ids = source.ids[start:stop]

    @property
    def ids(self) -> Sequence[str]:
        """See :class:`Source`."""
        return self._ids

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def left_out(self) -> str:
        """See :class:`~treg_exp.data.checked.CheckedSource`."""
        return left_out(self.source)

    def __getitem__(self, index: int) -> Sample:
        return self.source[self.indices[index]]

    def captions(self, index: int) -> Mapping[str, str]:
        """See :class:`Source`."""
        return self.source.captions(self.indices[index])


def subset(source: Source, limit: int | None = None, offset: int = 0) -> Source:
    """``limit`` samples of ``source`` after the first ``offset``; fewer where the source ends earlier.

    They are loaded once here, unless their source says ``verify=False``: the selection is known and no model is
    loaded yet, so this costs time for what will be restored only.

    Args:
        source: the whole data set.
        limit: number of samples, None for all.
        offset: number of samples to leave out at the start.

    Raises:
        FieldError: nothing would be left.
        FileError: a selected file cannot be used.
    """
    total = len(source)
    if limit is not None and limit < 1:
        raise FieldError("limit", limit, f"must be >= 1, the data has {total} samples")
    if not 0 <= offset < total:
        raise FieldError("offset", offset, f"must be in [0, {total - 1}], the data has {total} samples")
    stop = total if limit is None else min(total, offset + limit)
    if isinstance(source, CheckedSource) and source.verify:
        source.check(range(offset, stop))
    return source if (offset, stop) == (0, total) else Subset(source, offset, stop)


def left_out(source: Source) -> str:
    """What there is beside the samples, in words; nothing where there is nothing."""
    return source.left_out if isinstance(source, CheckedSource | Subset) else ""


class TextTable(Sequence[tuple[str, Mapping[str, str]]]):
    """(id, captions) of every sample of a source: what a prompt needs, without opening an image.

    A row is made when it is asked for: a part of a large data set costs no more than a small one.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.ids = source, source.ids

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> tuple[str, Mapping[str, str]]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[str, Mapping[str, str]]]: ...
    def __getitem__(
        self, index: int | slice
    ) -> tuple[str, Mapping[str, str]] | Sequence[tuple[str, Mapping[str, str]]]:
        """One row, or several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.ids[index], self.source.captions(range(len(self))[index])


def text_tables(source: Source) -> tuple[TextTable, TextTable]:
    """The text table of ``source``, and that of the data set that :func:`subset` took it from."""
    table = TextTable(source)
    return table, TextTable(source.source) if isinstance(source, Subset) else table
