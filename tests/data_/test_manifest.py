"""Prompt manifests: both formats, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from treg_exp.data import read_manifest
from treg_exp.errors import ConfigError


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
        ("p.csv", "id;caption\na;b\n", r"p\.csv needs a column sample_id or file .* columns are: id;caption"),
        ("p.csv", "sample_id\na\n", r"needs a column sample_id or file and one for each role"),
        ("p.csv", "", r"columns are: none"),
        ("p.csv", "sample_id,caption\n", r"p\.csv has no rows"),
        ("p.csv", "sample_id,caption\na,x\na,y\n", r"line 3: 'a' has a row already"),
        ("p.csv", "sample_id,caption\na, \n", r"line 2: 'a' has an empty text in every role"),
        ("p.csv", "sample_id,caption\na,a cat, grey\n", r"line 2: more cells than the 2 columns; put texts"),
        ("p.csv", "sample_id,caption\n,a cat\n", r"line 2: needs sample_id or file"),
        ("p.jsonl", '{"sample_id": "a", "caption": "x"}\n{"sample_id": "b"\n', r"line 2: no valid JSON"),
        ("p.jsonl", '["a"]\n', r"line 1: needs one JSON object"),
        ("p.jsonl", '{"sample_id": "a", "caption": 3}\n', r"line 1: caption must be text"),
        ("p.json", "{}", r"p\.json must end in \.csv or \.jsonl"),
    ],
)
def test_mistakes_are_placed(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_manifest(written(tmp_path, name, text))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"prompt manifest .*p\.csv does not exist"):
        read_manifest(tmp_path / "p.csv")
