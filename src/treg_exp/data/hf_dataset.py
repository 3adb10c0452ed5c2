"""Pictures of a data set of Hugging Face that lies on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from treg_exp.data.decoding import Stored
from treg_exp.data.hf_tables import open_table
from treg_exp.data.listing import first_few
from treg_exp.data.naming import identifier
from treg_exp.data.picture_source import PictureSource, text_is_caption, texts_of, unique
from treg_exp.data.pictures import Fit
from treg_exp.errors import FieldError, FileError

DIGITS = 8  # of a row's number as an id: ids do not change when rows are appended


class HFDataset(PictureSource):
    """Rows of a table with a column of pictures, in the order of the table. Nothing is downloaded.

    Args:
        path: folder that ``save_to_disk`` wrote, or Parquet or Arrow files, as in a snapshot of a repository.
        image_size: side of the square picture in pixels (the prior's).
        split: which part, as ``train``; None where there is one.
        image: column of the pictures; None: the only one.
        captions: role -> column of texts. None: every column of texts is a role of its name, and ``text`` the caption.
        sample_id: column of unique names; None: the number of the row.
        fit: how a picture becomes square: ``crop``, ``pad`` or ``stretch``.
        background: colour under transparent pixels and around padded pictures (a CSS name or #rrggbb).
        verify: look into the selected pictures before a model is loaded.

    Raises:
        FieldError: there is no such table, split or column, the package datasets is missing, or a value is unknown.
        FileError: a file cannot be read, or two rows have one id.
    """

    def __init__(
        self,
        path: str | Path,
        image_size: int,
        split: str | None = None,
        image: str | None = None,
        captions: Mapping[str, str] | None = None,
        sample_id: str | None = None,
        fit: Fit = "crop",
        background: str = "white",
        verify: bool = True,
    ) -> None:
        super().__init__(image_size, fit, background, verify)
        self._path = Path(path).expanduser()
        self.table = open_table(path, split)
        self.image = self._picture_column(image)
        names = self.table.texts
        if captions is None:
            self.roles = text_is_caption(name for name in names if name != sample_id)
        else:
            self.roles = dict(captions)
        for role, name in self.roles.items():
            if name not in names:
                raise FieldError(f"captions.{role}", name, f"no column of texts; there are: {_listed(names)}")
        self._texts = self.table.columns(list(dict.fromkeys(self.roles.values())))
        self._ids = self._names(sample_id)

    def _picture_column(self, image: str | None) -> str:
        columns = self.table.pictures
        if image is None and len(columns) == 1:
            return columns[0]
        if image not in columns:
            others = f"; its columns: {_listed(self.table.schema.names)}"
            told = f"no column of pictures; there are: {_listed(columns)}" if image else "name one of the columns of "
            told += f"pictures: {_listed(columns)}" if not image else ""
            raise FieldError("image", image, told + others)
        return image

    def _names(self, column: str | None) -> list[str]:
        if column is None:
            return [f"{row:0{DIGITS}d}" for row in range(len(self.table))]
        if column not in self.table.schema.names:
            raise FieldError("sample_id", column, f"no such column; there are: {_listed(self.table.schema.names)}")
        values = self.table.columns([column])[column]
        return unique((identifier(str(value.as_py())) for value in values), f"; the column {column} has to be unique")

    @property
    def ids(self) -> Sequence[str]:
        """See :class:`~treg_exp.data.base.Source`."""
        return self._ids

    def captions(self, index: int) -> Mapping[str, str]:
        """See :class:`~treg_exp.data.base.Source`."""
        return texts_of((role, self._texts[name][index].as_py()) for role, name in self.roles.items())

    def content(self, index: int) -> Stored:
        """See :class:`~treg_exp.data.picture_source.PictureSource`."""
        stored = self.table.cell(self.image, index)
        content, path = (stored.get("bytes"), stored.get("path")) if isinstance(stored, dict) else (stored, None)
        if content:
            return bytes(content)
        if not path:
            raise FileError("it is empty")
        file: Path = self._path / path  # an absolute path stays as it is
        if not file.is_file():
            raise FileError(f"it is the file {file}, which does not exist; save the data set with the pictures in it")
        return file

    def name(self, index: int) -> str:
        """Its number, and its id where that is another."""
        number = f"row {index}"
        return number if self._ids[index] == f"{index:0{DIGITS}d}" else f"{number} ({self._ids[index]})"

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._path)


def _listed(names: Sequence[str]) -> str:
    return first_few(names) or "none"
