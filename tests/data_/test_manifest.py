"""Prompt manifests: both formats, and every mistake with its place."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treg_exp.data.manifest import read_manifest
from treg_exp.errors import FileError


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_with_quotes_mark_and_umlauts(tmp_path: Path) -> None:
    text = '\ufeffsample_id,caption,counterfactual\nb,"a cat, grey",ein grüner Hund\na,two,\n'
    assert read_manifest(written(tmp_path, "p.csv", text)) == {
        "b": {"caption": "a cat, grey", "counterfactual": "ein grüner Hund"},
        "a": {"caption": "two"},
    }


def test_jsonl_by_file(tmp_path: Path) -> None:
    text = '{"file": "cats/grey tabby.png", "caption": "a cat"}\n\n'
    text += '{"sample_id": "b", "caption": "c", "x": null}\n'
    assert read_manifest(written(tmp_path, "p.jsonl", text)) == {
        "cats__grey_tabby": {"caption": "a cat"},
        "b": {"caption": "c"},
    }


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "p.csv",
            "id;caption\na;b\n",
            r"p\.csv needs a column sample_id, file or .* columns are: id;caption",
        ),
        ("p.csv", "sample_id\na\n", r"needs a column sample_id, file or file_name and one for each role"),
        ("p.csv", "", r"columns are: none"),
        ("p.csv", "sample_id,caption\n", r"p\.csv has no rows"),
        ("p.csv", "sample_id,caption\na,x\na,y\n", r"line 3: 'a' has a row already"),
        ("p.csv", "sample_id,caption\na, \n", r"line 2: 'a' has an empty text in every role"),
        ("p.csv", "sample_id,caption\na,a cat, grey\n", r"line 2: more cells than the 2 columns; put texts"),
        (
            "p.csv",
            'sample_id,caption\na,"a cat\nb,a dog\n',
            r"line 3: no valid CSV \(unexpected end of data\); a text in",
        ),
        ("p.csv", 'sample_id,caption\na,"a" cat\n', r"line 2: no valid CSV"),
        ("p.csv", f"sample_id,caption\na,{'x' * 200_000}\n", r"line 2: no valid CSV \(field larger"),
        ("p.csv", "sample_id,caption,caption\na,x,y\n", r"line 2: 'caption' occurs twice; keep one"),
        ("p.csv", "sample_id,caption,,\na,x,,y\n", r"line 2: 'y' stands in a column without a name"),
        ("p.jsonl", '{"file": "a", "caption": "x", "caption": "y"}', r"line 1: 'caption' occurs twice"),
        ("p.jsonl", '{"file": "a", "caption": {"en": "x"}}', r"line 1: caption must be text"),
        ("p.jsonl", r'{"file": "a", "caption": "a cat \ud83d"}', r"line 1: 'caption' holds half of a letter"),
        ("p.jsonl", '{"file": ".", "caption": "x"}', r"line 1: '\.' is no name of a file"),
        ("p.jsonl", "{}", r"line 1: needs sample_id, file or file_name"),
        ("p.csv", "sample_id,caption\n,a cat\n", r"line 2: needs sample_id, file or file_name"),
        ("p.jsonl", '{"sample_id": "a", "caption": "x"}\n{"sample_id": "b"\n', r"line 2: no valid JSON"),
        ("p.jsonl", '["a"]\n', r"line 1: needs one JSON object"),
        ("p.jsonl", '{"sample_id": "a", "caption": 3}\n', r"line 1: caption must be text"),
        ("p.json", "{}", r"p\.json must end in \.csv or \.jsonl"),
    ],
)
def test_mistakes_are_placed(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(FileError, match=message):
        read_manifest(written(tmp_path, name, text))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"prompt manifest .*p\.csv does not exist"):
        read_manifest(tmp_path / "p.csv")
    with pytest.raises(FileError, match=r"prompt manifest .* is a folder; give the CSV or JSONL file"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_another_encoding_is_placed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes('sample_id,caption\na,"Käse"\n'.encode("latin-1"))
    with pytest.raises(FileError, match=r"line 2: not UTF-8; save the file with that encoding"):
        read_manifest(tmp_path / name)


def test_columns_that_a_spreadsheet_appends_are_ignored(tmp_path: Path) -> None:
    path = written(tmp_path, "p.csv", "sample_id,caption,,\r\na,x,,\r\n\r\nb,y\r\n")
    assert read_manifest(path) == {"a": {"caption": "x"}, "b": {"caption": "y"}}


def test_a_space_after_the_comma_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = written(tmp_path, "p.csv", 'sample_id, caption, counterfactual\na, "a cat, grey",  "a ""dog"""\nb,x, y\n')
    assert read_manifest(path) == {
        "a": {"caption": "a cat, grey", "counterfactual": 'a "dog"'},
        "b": {"caption": "x", "counterfactual": "y"},
    }


def test_metadata_of_hugging_face(tmp_path: Path) -> None:
    """Names are relative to the file, ``text`` is the caption, what is no text is passed over."""
    rows = [
        {"file_name": "a.png", "text": "a cat", "label": 3, "objects": {"bbox": [[1, 2]]}, "flag": True},
        {"file_name": "x/b.png", "caption": "a dog", "text": "other"},
    ]
    (tmp_path / "train").mkdir()
    path = written(tmp_path / "train", "metadata.jsonl", "\n".join(map(json.dumps, rows)))
    own = {"a": {"caption": "a cat"}, "x__b": {"caption": "a dog", "text": "other"}}
    assert read_manifest(path, tmp_path / "train") == read_manifest(path) == own
    assert read_manifest(path, tmp_path) == {f"train__{sample_id}": texts for sample_id, texts in own.items()}
    (tmp_path / "train" / "x").mkdir()
    assert read_manifest(path, tmp_path / "train" / "x")["b"] == own["x__b"]  # data.path is below the table's folder
    table = written(tmp_path / "train", "metadata.csv", "file_name,text\na.png,a cat\n")
    assert read_manifest(table, tmp_path) == {"train__a": {"caption": "a cat"}}
    ours = written(tmp_path, "p.csv", "file,text\na.png,a cat\n")
    assert read_manifest(ours) == {"a": {"text": "a cat"}}


words = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)
tables = st.dictionaries(st.text("abc", min_size=1), st.tuples(words, words), min_size=1)


@settings(max_examples=50, deadline=None)
@given(tables)
def test_both_formats_keep_every_text_and_the_order(table: dict[str, tuple[str, str]]) -> None:
    expected = {
        sample_id: {role: text.strip() for role, text in zip(("caption", "other"), texts, strict=True) if text.strip()}
        for sample_id, texts in table.items()
    }
    with TemporaryDirectory() as temporary:
        paths = Path(temporary, "p.csv"), Path(temporary, "p.jsonl")
        with paths[0].open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("sample_id", "caption", "other"), *((i, *t) for i, t in table.items())])
        rows = [{"sample_id": i, "caption": caption, "other": other} for i, (caption, other) in table.items()]
        paths[1].write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
        for path in paths:
            if all(expected.values()):
                assert list(read_manifest(path).items()) == list(expected.items())
            else:
                with pytest.raises(FileError, match="has an empty text in every role"):
                    read_manifest(path)
