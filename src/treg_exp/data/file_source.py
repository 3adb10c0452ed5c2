"""What every data set of files shares: listing, sample names, texts of a manifest, and checks of the files.

A new one says which files it takes and how a file becomes a tensor; ``folder.py`` is an example.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from treg_exp.data.checked import CheckedSource
from treg_exp.data.listing import Files, Listing, list_files, unique_ids
from treg_exp.data.manifest import match, read_manifest
from treg_exp.quoting import quoted_override


class FileSource(CheckedSource):
    """One sample per file below a folder, in the order of the relative paths; a :class:`~treg_exp.data.base.Source`.

    Args:
        path: folder; subfolders are searched, hidden files are not.
        manifest: CSV or JSONL file with the texts of the samples, or None for samples without texts.
        verify: find unusable files early: a run looks into all that it selects before a model is loaded, see
            :meth:`~treg_exp.data.checked.CheckedSource.check`. False starts faster where it selects very many; a
            broken file is then found when its turn comes. Files that a run does not select are not opened.

    Attributes:
        extensions: endings of the files that are samples, in lower case and with the dot.
        files: sample_id -> file.

    Raises:
        FieldError: there is no such folder, or no such file in it.
        FileError: two files get the same id, or the manifest cannot be used.
    """

    extensions: ClassVar[tuple[str, ...]]

    def __init__(self, path: str | Path, manifest: str | Path | None = None, verify: bool = True) -> None:
        self.verify = verify
        self._manifest = None if manifest is None else Path(manifest).expanduser()
        listing = list_files(path, self.extensions, self._manifest)
        self._root, self._others, self._tables = listing.root, listing.others.total(), listing.tables
        self._kinds = listing.kinds
        self.files = Files(self._root, self.find(listing))
        self._ids = list(self.files)
        self._texts: dict[str, dict[str, str]] = {}
        if manifest is not None:
            self._texts = read_manifest(manifest, self._root)
            match(self._texts, self.files.relative, manifest)

    def find(self, listing: Listing) -> Mapping[str, str]:
        """sample_id -> file or folder of a sample, relative to the folder, in order."""
        return unique_ids(listing.paths)

    @abstractmethod
    def load(self, file: Path) -> Tensor:
        """The file as a float32 tensor without a batch axis; all samples of a run have one shape.

        Raises:
            FileError: the file cannot be used; the message names it. Any other ValueError counts as one.
        """

    def problem(self, file: Path) -> str | None:
        """Why the file cannot be used, judged without decoding it, or None."""
        return None

    @property
    def left_out(self) -> str:
        """What else is in the folder, in words; nothing where all is read."""
        if not self._others:
            return ""
        table = self._root / min(self._tables, key=lambda path: path.split("/")) if self._tables else None
        told = quoted_override("data.manifest", str(table))
        hint = f"; the texts in {table} are read with {told}" if table and not self._manifest else ""
        return f"{self._others} file{'s' * (self._others > 1)} of {self._root} left out: {self._kinds}{hint}"

    @property
    def ids(self) -> Sequence[str]:
        """See :class:`~treg_exp.data.base.Source`."""
        return self._ids

    def captions(self, index: int) -> Mapping[str, str]:
        """See :class:`~treg_exp.data.base.Source`."""
        return self._texts.get(self._ids[index], {})

    def signal(self, index: int) -> Tensor:
        """See :class:`~treg_exp.data.checked.CheckedSource`."""
        return self.load(self.files[self._ids[index]])

    def reason(self, index: int) -> str | None:
        """See :class:`~treg_exp.data.checked.CheckedSource`."""
        return self.problem(self.files[self._ids[index]])

    def name(self, index: int) -> str:
        """The path of the file below the folder."""
        return self.files.relative[self._ids[index]]

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._root)
