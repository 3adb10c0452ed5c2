"""Data sets of Hugging Face on disk: rows by number, from every form that datasets and its hub write."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from treg_exp.data.base import TextTable, subset
from treg_exp.data.hf_dataset import HFDataset
from treg_exp.data.hf_tables import MappedTable, ParquetTable
from treg_exp.errors import FieldError, FileError

datasets = pytest.importorskip("datasets", reason="an extra of the package: treg_exp[data]")
COUNT = 7


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def rows() -> dict[str, list[Any]]:
    return {
        "image": [Image.fromarray(pixels(i)) for i in range(COUNT)],
        "text": [f"picture {i}" if i != 3 else None for i in range(COUNT)],
        "style": ["flat", "round"] * 3 + [" "],
        "label": list(range(COUNT)),
        "key": [f"k/{9 - i}" for i in range(COUNT)],
    }


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same rows, in every form."""
    folder = tmp_path_factory.mktemp("hf")
    table = datasets.Dataset.from_dict(rows()).cast_column("image", datasets.Image())
    table.save_to_disk(folder / "saved", num_shards=2)
    datasets.Dataset.from_dict(rows()).select(range(COUNT)).shuffle(seed=0).sort("label").save_to_disk(
        folder / "indices"
    )
    datasets.DatasetDict({"train": table, "test": table.select([1])}).save_to_disk(folder / "splits")
    hub = folder / "hub" / "data"
    hub.mkdir(parents=True)
    for number, part in enumerate((range(4), range(4, COUNT))):
        table.select(part).to_parquet(hub / f"train-{number:05d}-of-00002.parquet", batch_size=2)
    table.select([1]).to_parquet(hub / "test-00000-of-00001.parquet")
    (folder / "hub" / "README.md").write_text("a card")
    arrow = folder / "arrow"
    arrow.mkdir()
    for number, file in enumerate(sorted((folder / "saved").glob("*.arrow"))):
        (arrow / f"x-train-{number:05d}-of-00002.arrow").write_bytes(file.read_bytes())
    return {name: folder / name for name in ("saved", "indices", "splits", "hub", "arrow")}


FORMS = ["saved", "indices", "splits", "hub", "arrow"]


def opened(stored: dict[str, Path], form: str, **more: Any) -> HFDataset:
    return HFDataset(stored[form], 8, split="train" if form in ("splits", "hub") else None, **more)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_same_samples(stored: dict[str, Path], form: str) -> None:
    data = opened(stored, form)
    assert isinstance(data.table, ParquetTable if form == "hub" else MappedTable)
    assert data.ids == [f"{i:08d}" for i in range(COUNT)]
    for index in (6, 0, 3, 4, 1):  # in any order
        target = data[index].target
        assert target is not None
        assert torch.equal(((target + 1) * 127.5).round().permute(1, 2, 0), torch.from_numpy(pixels(index)).float())
    table = list(TextTable(subset(data, limit=2, offset=2)))
    assert table[0] == ("00000002", {"caption": "picture 2", "style": "flat", "key": "k/7"})
    assert table[1] == ("00000003", {"style": "round", "key": "k/6"})
    assert "style" not in data.captions(6)


@pytest.mark.parametrize("form", ["saved", "hub"])
def test_columns_are_named(stored: dict[str, Path], form: str) -> None:
    data = opened(stored, form, image="image", captions={"caption": "style", "name": "text"}, sample_id="key")
    assert data.ids[:2] == ["k__9", "k__8"]
    assert data.captions(1) == {"caption": "round", "name": "picture 1"}
    assert data.name(1) == "row 1 (k__8)"
    assert opened(stored, form, sample_id="label").ids == [str(i) for i in range(COUNT)]
    with pytest.raises(FileError, match=r"samples 0 and 2 .* would both be 'flat'; the column style has to be unique"):
        opened(stored, form, sample_id="style")


@pytest.mark.parametrize("form", ["saved", "hub"])
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"image": "picture"}, r"^image=picture: no column of pictures; there are: image; its columns: image, text"),
        ({"captions": {"caption": "label"}}, r"^captions\.caption=label: no column of texts; there are: text, style"),
        ({"sample_id": "id"}, r"^sample_id=id: no such column; there are: image, text, style, label, key"),
    ],
)
def test_columns_that_are_not_there(stored: dict[str, Path], form: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError, match=message):
        opened(stored, form, **more)


def test_splits_are_chosen(stored: dict[str, Path]) -> None:
    for form in ("hub", "splits"):
        with pytest.raises(FieldError, match=rf"^split=null: .*{form} has test, train; choose one"):
            HFDataset(stored[form], 8)
        with pytest.raises(FieldError, match=r"^split=val: .* has test, train"):
            HFDataset(stored[form], 8, split="val")
        assert HFDataset(stored[form], 8, split="test").captions(0)["caption"] == "picture 1"
    with pytest.raises(FieldError, match=r"^split=val: .* holds one table without splits; null takes it"):
        HFDataset(stored["saved"], 8, split="val")
    file = stored["hub"] / "data" / "test-00000-of-00001.parquet"
    assert len(HFDataset(file, 8)) == 1


def test_parts_are_neither_mixed_nor_left_out(tmp_path: Path) -> None:
    def table(file: str, text: str) -> Path:
        (path := tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        kinds = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
        datasets.Dataset.from_dict({"image": [b"x"], "text": [text]}, features=kinds).to_parquet(path)
        return path

    def texts(folder: str, split: str | None = None) -> list[str]:
        data = HFDataset(tmp_path / folder, 8, split=split, verify=False)
        return [data.captions(i)["caption"] for i in range(len(data))]

    for language in ("en", "de"):
        for number in range(3):
            table(f"two/{language}/train-{number:05d}-of-00003.parquet", f"{language} {number}")
    for split in (None, "train"):
        with pytest.raises(FieldError, match=r"^split=.*: .*two has de/train, en/train; choose one"):
            texts("two", split)
    assert texts("two", "en/train") == texts("two/en") == ["en 0", "en 1", "en 2"]
    (tmp_path / "two/en/train-00001-of-00003.parquet").unlink()
    message = r"^path=.*two: 1 of 3 parts of the split en/train are missing: train-00001-of-00003\.parquet; fetch them"
    with pytest.raises(FieldError, match=message):
        texts("two", "en/train")
    assert len(HFDataset(tmp_path / "two/en/train-00002-of-00003.parquet", 8, verify=False)) == 1
    for version in (1, 2):
        table(f"versions/v{version}.parquet", f"{version}")
    with pytest.raises(FieldError, match=r"^split=null: .* has v1, v2; choose one"):
        texts("versions")
    assert texts("versions", "v2") == ["2"]
    table("kinds/train-00000.parquet", "x")
    (tmp_path / "kinds/train-00001.arrow").write_bytes(b"")
    message = r"^path=.*kinds: the split train has 1 \.parquet and 1 \.arrow files \(train-00000\.parquet, train-00001"
    with pytest.raises(FieldError, match=message):
        texts("kinds")


def test_what_is_no_data_set(tmp_path: Path, stored: dict[str, Path]) -> None:
    with pytest.raises(FieldError, match=r"^path=.*nowhere: does not exist"):
        HFDataset(tmp_path / "nowhere", 8)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(FieldError, match=r"no file with one of the extensions parquet, arrow; it holds 1 \.json"):
        HFDataset(tmp_path, 8)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no such thing")
    with pytest.raises(FileError, match=r"cannot read .*x\.parquet: "):
        HFDataset(tmp_path, 8)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(FileError, match=rf"cannot read {tmp_path}: "):
        HFDataset(tmp_path, 8)


def test_broken_and_missing_pictures_are_named(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    content = io.BytesIO()
    Image.fromarray(pixels(0)).save(content, "PNG")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "there.png").write_bytes(content.getvalue())
    stored = [
        {"bytes": content.getvalue(), "path": None}, {"bytes": b"junk", "path": None}, {"bytes": None, "path": "x.png"},
        None, {"bytes": None, "path": "there.png"},
    ]  # fmt: skip
    table = pa.Table.from_pylist([{"image": cell} for cell in stored])  # without what datasets says of its columns
    parquet.write_table(table, tmp_path / "files" / "t.parquet")
    data = HFDataset(tmp_path / "files", 8)
    assert len(subset(data, limit=1)) == len(subset(data, offset=4)) == 1
    message = (
        r"3 of 5 pictures in .*files cannot be used: row 1 \(it is no picture.*\), row 2 \(it is the file .*x\.png, "
        r"which does not exist.*\), row 3 \(it is empty\)"
    )
    with pytest.raises(FileError, match=message):
        subset(data)


def test_groups_of_rows_are_read_one_at_a_time(stored: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import parquet

    read: list[int] = []
    real = parquet.ParquetFile.read_row_group

    def noted(self: Any, group: int, **more: Any) -> Any:
        read.append(group)
        return real(self, group, **more)

    monkeypatch.setattr(parquet.ParquetFile, "read_row_group", noted)
    data = opened(stored, "hub")
    assert read == []
    for index in (0, 1, 1, 2, 4, 6):
        data.content(index)
    assert read == [0, 1, 0, 1]


def test_without_the_package_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(FieldError, match=r"the package datasets, .* is not installed: pip install 'treg_exp\[data\]'"):
        HFDataset(tmp_path, 8)
