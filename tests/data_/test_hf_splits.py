"""Names of files as datasets, its hub and others write them: which are one split, which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from treg_exp.data.hf_splits import files_of, splits_of
from treg_exp.errors import FieldError

OLD = "-0123456789abcdef.parquet"  # of an old hub: a hash behind the number


def paths(names: str) -> list[Path]:
    return [Path(name if name.endswith((".parquet", ".arrow")) else f"{name}.parquet") for name in names.split()]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ("data/test-00000-of-00001 data/train-00000-of-00002 data/train-00001-of-00002", {"test": 1, "train": 2}),
        (f"train-00000-of-00002{OLD} train-00001-of-00002{OLD}", {"train": 2}),
        ("train-1-of-2 train-2-of-2", {"train": 2}),  # counted from 1
        ("0000 0001", {"rows": 2}),
        ("test/0000 train/0000 train/0001", {"test": 1, "train": 2}),
        ("de/train/0000 en/train/0000 en/train/0001", {"de/train": 1, "en/train": 2}),
        ("00/0000 x/00/0000", {"00": 1, "x/00": 1}),
        ("de/train en/test", {"train": 1, "test": 1}),
        ("old/train-00000 train-00000", {"old/train": 1, "./train": 1}),
        ("a/train-00000-of-00002 b/train-00001-of-00002", {"train": 2}),  # one table in two folders
        ("part-0 part-1 part-10", {"part": 3}),
        ("part.0 part.1", {"part": 2}),
        ("data_0 data_1", {"data": 2}),
        ("data_2019 data_2020", {"data_2019": 1, "data_2020": 1}),
        ("v1 v2", {"v1": 1, "v2": 1}),
    ],
)
def test_files_are_one_split(names: str, splits: dict[str, int]) -> None:
    files = paths(names)
    assert {name: len(parts) for name, parts in splits_of(files).items()} == splits
    for split in splits:
        found = files_of(split, files, "x")
        assert found == [file for file in files if file in found]
        assert len(found) == splits[split]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            "train-00000-of-00003",
            r"2 of 3 parts of the split train are missing: train-00001-of-00003\.parquet, train-00002-of-00003\.par",
        ),
        (f"train-00001-of-00002{OLD}", r"1 of 2 parts .* are missing: train-00000-of-00002\.parquet;"),
        ("train-00000-of-00001 train-00000-of-00002", r"the split train has files that are not parts of one table: "),
        (f"train-00000-of-00001 train-00000-of-00001{OLD}", r"files that are not parts of one table: .*; keep those"),
        ("train train-00000-of-00001", r"files that are not parts of one table: train\.parquet, train-00000"),
        ("train-00004-of-00003", r"files that are not parts of one table: train-00004-of-00003\.parquet"),
        ("train.arrow train.parquet", r"^path=x: the split train has 1 \.parquet and 1 \.arrow files"),
    ],
)
def test_what_is_incomplete_or_mixed_is_refused(names: str, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        files_of(None, paths(names), "x")
