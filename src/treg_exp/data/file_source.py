"""What every data set of files shares: listing, sample names, texts of a manifest, and checks of the files.

A new one says which files it takes and how a file becomes a tensor; ``folder.py`` is an example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from treg_exp.data.listing import check_files, first_few, kinds_of, list_files, survey
from treg_exp.data.manifest import METADATA, match, read_manifest
from treg_exp.data.sample import Sample
from treg_exp.errors import FileError
from treg_exp.quoting import quoted_override


class FileSource(ABC):
    """One sample per file below a folder, in the order of the relative paths; a :class:`~treg_exp.data.base.Source`.

    Args:
        path: folder; subfolders are searched, hidden files are not.
        manifest: CSV or JSONL file with the texts of the samples, or None for samples without texts.
        verify: find unusable files early: :meth:`problem` of every file now, :meth:`check` of those that a run
            selects. False starts faster on very large folders; a broken file is then found when its turn comes.

    Attributes:
        extensions: endings of the files that are samples, in lower case and with the dot.
        medium: of the signals, None for any.
        measured: whether :meth:`load` gives the measurement of a sample; else it gives the target.
        files: sample_id -> file.
        verify: as above.
        not_identity: values that change no restoration.

    Raises:
        FieldError: there is no such folder, or no such file in it.
        FileError: a file or the manifest cannot be used.
    """

    extensions: ClassVar[tuple[str, ...]]
    medium: ClassVar[str | None] = None
    measured: ClassVar[bool] = False
    not_identity: ClassVar[tuple[str, ...]] = ("verify",)

    def __init__(self, path: str | Path, manifest: str | Path | None = None, verify: bool = True) -> None:
        self._root = Path(path).expanduser()
        self.verify = verify
        self.files = self.find(path)
        self._ids = list(self.files)
        if verify:
            check_files(self._root, list(self.files.values()), self.problem)
        self._manifest = None if manifest is None else Path(manifest).expanduser()
        self._texts: dict[str, dict[str, str]] = {}
        if manifest is not None:
            self._texts = read_manifest(manifest, self._root)
            match(self._texts, {sample_id: self._name(sample_id) for sample_id in self._ids}, manifest)

    def find(self, path: str | Path) -> dict[str, Path]:
        """sample_id -> file below the folder, in order."""
        return list_files(path, self.extensions)

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
        others = survey(self._root, self.extensions)[1]
        read = [path for path in others if self._manifest and (self._root / path).resolve() == self._manifest.resolve()]
        others = [path for path in others if path not in read]
        if not others:
            return ""
        table = next((self._root / path for path in others if path.name in METADATA), None)
        told = quoted_override("data.manifest", str(table))
        hint = f"; the texts in {table} are read with {told}" if table and not self._manifest else ""
        count = f"{len(others)} file{'s' * (len(others) > 1)} of {self._root} left out"
        return f"{count}: {kinds_of(self._root, others)}{hint}"

    @property
    def ids(self) -> Sequence[str]:
        """See :class:`~treg_exp.data.base.Source`."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def captions(self, index: int) -> Mapping[str, str]:
        """See :class:`~treg_exp.data.base.Source`."""
        return self._texts.get(self._ids[index], {})

    def __getitem__(self, index: int) -> Sample:
        sample_id = self._ids[index]
        tensor, captions = self.load(self.files[sample_id]), self.captions(index)
        if self.measured:
            return Sample(sample_id, measurement=tensor, captions=captions)
        return Sample(sample_id, target=tensor, captions=captions)

    def check(self, indices: Iterable[int]) -> None:
        """Load these samples once: headers do not show truncated pixels, NaN, or a shape unlike the others'.

        Raises:
            FileError: the first file that cannot be loaded, with the names of the others; or two files of
                different shapes.
        """
        broken: dict[str, str] = {}
        shapes: dict[tuple[int, ...], str] = {}
        for sample_id in (self._ids[index] for index in indices):
            try:
                shapes.setdefault(tuple(self.load(self.files[sample_id]).shape), self._name(sample_id))
            except ValueError as error:
                broken[self._name(sample_id)] = str(error)
        if broken:
            (_, first), *others = broken.items()
            more = f" {len(others)} more cannot be used: {first_few([name for name, _ in others])}" if others else ""
            raise FileError(first + more)
        if len(shapes) > 1:
            (shape, name), (other_shape, other_name), *_ = shapes.items()
            raise FileError(
                f"{name} has the shape {shape}, but {other_name} has {other_shape}; all samples of a run must have "
                f"one shape: put them into folders of their own below {self._root}, and restore each in its own run"
            )

    def _name(self, sample_id: str) -> str:
        """The file as a user knows it: its path below the folder."""
        return self.files[sample_id].relative_to(self._root).as_posix()
