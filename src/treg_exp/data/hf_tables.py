"""Tables of pictures and texts as the package datasets and its hub store them, row by row, from disk.

Parquet files are read where they are, one group of rows at a time; datasets would first copy all of them into its
cache. What ``save_to_disk`` wrote, and Arrow files of that cache, are mapped into memory by datasets.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from treg_exp.data.hf_splits import chosen, files_of, splits_of
from treg_exp.data.listing import list_files
from treg_exp.errors import FieldError, FileError

SAVED = ("state.json", "dataset_dict.json")  # of ``save_to_disk``: of one table, of several splits
INSTALL = "pip install 'treg_exp[data]'"


class Table(ABC):
    """Rows with columns.

    Attributes:
        schema: names and Arrow types of the columns.
    """

    schema: Any

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def columns(self, names: Sequence[str]) -> Mapping[str, Any]:
        """Whole columns as Arrow arrays, for texts: in memory they take about their own size."""

    @abstractmethod
    def cell(self, column: str, row: int) -> Any:
        """One value, as Python has it; a picture is ``{"bytes": ..., "path": ...}`` or bytes."""

    @property
    def pictures(self) -> list[str]:
        """Columns that hold pictures: those that are said to, else those that hold bytes."""
        about = json.loads((self.schema.metadata or {}).get(b"huggingface", b"{}"))
        features = about.get("info", {}).get("features") or {}
        kinds = {name: feature.get("_type") for name, feature in features.items() if isinstance(feature, dict)}
        return [f.name for f in self.schema if kinds.get(f.name, "Image") == "Image" and _holds_bytes(f.type)]

    @property
    def texts(self) -> list[str]:
        """Columns that hold texts."""
        from pyarrow import types

        return [f.name for f in self.schema if types.is_string(f.type) or types.is_large_string(f.type)]


def _holds_bytes(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return int(kind.get_field_index("bytes")) >= 0
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


class ParquetTable(Table):
    """Parquet files, one after the other.

    Args:
        files: at least one.

    Raises:
        FileError: one is no such file, or has other columns than the first.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self._groups: list[tuple[int, int]] = []  # (file, group of rows in it)
        rows: list[int] = []
        for number, file in enumerate(files):
            parquet = self._opened(number)
            if not number:
                self.schema = parquet.schema_arrow
            elif parquet.schema_arrow.names != self.schema.names:
                raise FileError(f"{file} has other columns than {files[0]}")
            counts = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
            self._groups += [(number, group) for group in range(len(counts))]
            rows += counts
        self._starts = [0, *accumulate(rows)]
        self._file: tuple[int, Any] | None = None
        self._held: tuple[tuple[int, str], Any] | None = None  # rows mostly come in order: a group is read once

    def __len__(self) -> int:
        return self._starts[-1]

    def columns(self, names: Sequence[str]) -> Mapping[str, Any]:
        """See `Table`."""
        import pyarrow as pa

        if not names:
            return {}
        tables = [self._opened(number).read(columns=list(names)) for number in range(len(self.files))]
        return {name: _joined([table.column(name) for table in tables], pa) for name in names}

    def cell(self, column: str, row: int) -> Any:
        """See `Table`."""
        at = bisect_right(self._starts, row) - 1
        if self._held is None or self._held[0] != (at, column):
            number, group = self._groups[at]
            if self._file is None or self._file[0] != number:
                self._file = number, self._opened(number)
            try:
                self._held = (at, column), self._file[1].read_row_group(group, columns=[column]).column(0)
            except (OSError, ValueError) as error:
                raise FileError(f"cannot read {self.files[number]}: {error}") from None
        return self._held[1][row - self._starts[at]].as_py()

    def _opened(self, number: int) -> Any:
        from pyarrow import parquet

        try:
            return parquet.ParquetFile(self.files[number], memory_map=True)
        except (OSError, ValueError) as error:
            raise FileError(f"cannot read {self.files[number]}: {error}") from None


class MappedTable(Table):
    """A table of the package datasets, which maps it into memory.

    Args:
        dataset: a ``datasets.Dataset``.
    """

    def __init__(self, dataset: Any) -> None:
        import datasets

        for name, feature in dataset.features.items():
            if isinstance(feature, datasets.Image):
                dataset = dataset.cast_column(name, datasets.Image(decode=False))
        self.schema = dataset.features.arrow_schema
        self._dataset = dataset
        self._one: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._dataset)

    def columns(self, names: Sequence[str]) -> Mapping[str, Any]:
        """See `Table`."""
        import pyarrow as pa

        if not names:
            return {}
        table = self._dataset.select_columns(list(names)).with_format("arrow")[:]
        return {name: _joined([table.column(name)], pa) for name in names}

    def cell(self, column: str, row: int) -> Any:
        """See `Table`."""
        if column not in self._one:
            self._one[column] = self._dataset.select_columns([column])
        return self._one[column][row][column]


def _joined(columns: Sequence[Any], pa: Any) -> Any:
    """One Arrow array of 64-bit offsets: a column of texts may be larger than 2 GB."""
    kind = columns[0].type
    kind = pa.large_string() if pa.types.is_string(kind) else kind
    return pa.chunked_array([chunk.cast(kind) for column in columns for chunk in column.chunks], kind).combine_chunks()


def open_table(path: str | Path, split: str | None) -> Table:
    """The table in a folder, or of one file.

    Args:
        path: what ``save_to_disk`` wrote, or Parquet or Arrow files, such as those of a data set's repository.
        split: which one, where there are several.

    Raises:
        FieldError: there is no table, or no such split, parts of it are missing, or a package is.
        FileError: a file cannot be read.
    """
    try:
        import datasets
    except ImportError:
        raise FieldError("path", path, f"the package datasets, which reads it, is not installed: {INSTALL}") from None
    root = Path(path).expanduser()
    if root.suffix.lower() in (".parquet", ".arrow") and root.is_file():  # one part is enough for whoever names it
        chosen(split, list(splits_of([Path(root.name)])), path)
        files = [root]
    elif str(path) and root.is_dir() and any((root / name).is_file() for name in SAVED):
        return MappedTable(_saved(root, split, datasets))
    else:
        found = list_files(path, (".parquet", ".arrow"))
        files = [found.root / file for file in files_of(split, [Path(relative) for relative in found.paths], path)]
    if files[0].suffix.lower() == ".parquet":
        return ParquetTable(files)
    try:
        return MappedTable(datasets.concatenate_datasets([datasets.Dataset.from_file(str(file)) for file in files]))
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {files[0].parent}: {error}") from None


def _saved(root: Path, split: str | None, datasets: Any) -> Any:
    """The table that ``save_to_disk`` wrote."""
    try:
        if (root / SAVED[1]).is_file():
            splits = list(json.loads((root / SAVED[1]).read_text())["splits"])
            root = root / chosen(split, splits, root)
        elif split is not None:
            raise FieldError("split", split, f"{root} holds one table without splits; null takes it")
        return datasets.load_from_disk(str(root))
    except FieldError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise FileError(f"cannot read {root}: {' '.join(str(error).split())}") from None
