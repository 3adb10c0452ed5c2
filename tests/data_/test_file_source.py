"""What all sources of files share: listing, names, matching of a manifest, and what is found before a run."""

from __future__ import annotations

import json
import os
import shlex
import string
import unicodedata
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from treg_exp.configuration.names import check_sample_ids
from treg_exp.data.audio_folder import AudioFolder
from treg_exp.data.base import left_out, subset
from treg_exp.data.file_source import FileSource
from treg_exp.data.folder import ImageFolder
from treg_exp.data.listing import unique_ids
from treg_exp.data.measurements import MeasurementFolder
from treg_exp.data.naming import identifier, sample_id_of
from treg_exp.errors import FieldError, FileError

SAFE = set(string.ascii_letters + string.digits + "._-")
names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12)
paths = st.lists(names.filter(lambda name: not name.startswith(".")), min_size=1, max_size=3).map("/".join)
plain = st.text("ab1._- ", min_size=1, max_size=4).map(lambda name: f"x{name}")


class LineFolder(FileSource):
    """All that a new kind of file needs: a file of numbers becomes a row of them."""

    extensions = (".line",)

    def load(self, file: Path) -> Tensor:
        if not (text := file.read_text()).strip():
            raise FileError(f"{file} is empty")
        return torch.tensor([float(number) for number in text.split()])


def lines(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.line").write_text(text)
    return folder


def picture(path: Path, size: tuple[int, int] = (64, 64)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def cut(path: Path, size: int = 1500) -> Path:
    path.write_bytes(path.read_bytes()[:size])
    return path


@given(paths)
def test_ids_are_safe_and_stable(path: str) -> None:
    sample_id = sample_id_of(f"{path}.png")
    assert sample_id
    assert set(sample_id) <= SAFE
    assert sample_id.count("__") >= path.count("/")
    assert sample_id_of(f"{sample_id}.jpg") == sample_id
    assert sample_id_of(f"./{path}.png") == sample_id


@given(st.text("aZ0_.-/ \u00e4", min_size=1, max_size=12).filter(lambda path: PurePosixPath(path).stem.strip(".")))
def test_the_short_way_to_an_id_is_the_long_one(path: str) -> None:
    """Of a text with safe characters, as a listing has a million of; a Path takes the long way."""
    assert sample_id_of(path) == sample_id_of(Path(path))


def test_no_id_looks_like_an_option_or_a_hidden_folder() -> None:
    ids = [sample_id_of(name) for name in ("-x.png", "Fig 1..png", ".x/a.png", "a-b.c.png")]
    assert ids == ["_x", "Fig_1_", "_x__a", "a-b.c"]
    check_sample_ids(ids, "data")


@given(st.lists(plain.map("{}.png".format), min_size=1, max_size=6, unique=True).map(sorted))
def test_one_id_per_file_or_both_files_are_named(files: list[str]) -> None:
    ids = [sample_id_of(file) for file in files]
    if len(set(ids)) == len(ids):
        assert list(unique_ids(files).values()) == files
    else:
        with pytest.raises(FileError, match=r"would both be sample .*; rename one of them"):
            unique_ids(files)


def test_names_in_other_alphabets_differ_in_their_ids(tmp_path: Path) -> None:
    """And ids of ASCII names are what they were."""
    ascii_names = {"a": "a", "grey tabby": "grey_tabby", "cats/x (1).v2": "cats__x__1_.v2", "a-b_c": "a-b_c"}
    assert {name: identifier(name) for name in ascii_names} == ascii_names
    foreign = {"東京": "_-130016b2", "大阪": "_-6df97746", "Käse": "Kase-f9eeb52c", "مدينة/한국": "____-b6ea1efd"}
    assert {name: identifier(name) for name in foreign} == foreign
    assert (
        identifier("\udcff") != identifier("\ud83d") != identifier("\udcfe")
    )  # names on a disk, and half letters of JSON
    for name in foreign:
        picture(tmp_path / f"{name}.png")
    decomposed = {name: unicodedata.normalize("NFD", name) for name in foreign}
    assert decomposed["Käse"] != "Käse"
    manifest = tmp_path / "m.csv"
    manifest.write_text("file,caption\n" + "".join(f"{name}.png,{name}\n" for name in decomposed.values()))
    data = ImageFolder(tmp_path, 8, manifest=manifest)
    assert {data.captions(i)["caption"] for i in range(4)} == set(decomposed.values())
    by_name = manifest.with_suffix(".jsonl")
    by_name.write_text("\n".join(json.dumps({"sample_id": name, "caption": name}) for name in foreign))
    assert len(ImageFolder(tmp_path, 8, manifest=by_name)) == 4


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    for name in ("c.npy", "d.wav"):
        (tmp_path / name).symlink_to(tmp_path / "b.png")
    (tmp_path / "others").symlink_to(tmp_path / "..", target_is_directory=True)
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nothing")
    data = MeasurementFolder(tmp_path)
    assert data.ids == ["a"]
    assert data.left_out == f"5 files of {tmp_path} left out: 3 pipe or device, 1 .txt, 1 linked folder"


def test_a_folder_that_may_not_be_read_is_no_smaller_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "sub" / "b.png")
    scandir = os.scandir

    def guarded(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(FileError, match=r"cannot look into .*sub: Permission denied"):
        ImageFolder(tmp_path, 8)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    tmp_path /= "it's, a folder"
    for name in ("a.png", "sub/b.jfif", "c.gif", ".hidden/d.png"):
        picture(tmp_path / name.replace("jfif", "jpg")).rename(tmp_path / name)
    data = ImageFolder(tmp_path, 8)
    assert (data.ids, data.left_out) == (["a", "c", "sub__b"], "")
    for name in ("1.HEIC", "2.heic", "sub/notes.txt", "README", ".DS_Store"):
        (tmp_path / name).write_text("")
    assert data.left_out == ""  # the folder is walked once
    data = ImageFolder(tmp_path, 8)
    message = f"4 files of {tmp_path} left out: 2 .heic (convert to PNG or JPEG), 1 .txt, 1 without ending"
    assert data.left_out == left_out(data) == left_out(subset(data, limit=1)) == message
    table = tmp_path / "metadata.jsonl"
    rows = [{"file_name": name, "text": name} for name in ("a.png", "sub/b.jfif", "c.gif")]
    table.write_text("\n".join(map(json.dumps, rows)))
    told = ImageFolder(tmp_path, 8).left_out.partition(f", 1 without ending; the texts in {table} are read with ")[2]
    (override,) = shlex.split(told)
    assert OverridesParser.create().parse_override(override).value() == str(table)
    read = ImageFolder(tmp_path, 8, manifest=table)
    assert (read.left_out, read.captions(2)) == (message, {"caption": "sub/b.jfif"})
    with pytest.raises(FieldError, match=r"wav, flac; it holds 2 \.heic \(convert to PNG or JPEG\), 1 "):
        AudioFolder(tmp_path, (1, 64), 8000)


def test_an_id_that_no_folder_can_have_is_refused() -> None:
    at_most = "x" * 125 + "/" + "y" * 128 + ".png"
    assert [len(sample_id) for sample_id in unique_ids([at_most])] == [255]
    with pytest.raises(FileError, match=r"y\.png: its sample id has 256 characters, a folder name can have 255"):
        unique_ids(["x" * 125 + "/" + "y" * 129 + ".png"])


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.lists(plain, min_size=1, max_size=3).map("/".join), st.text("abc", min_size=1)))
def test_listing_is_sorted_and_finds_its_rows(texts: dict[str, str]) -> None:
    rows = {PurePosixPath(f"{path}.line"): text for path, text in texts.items()}
    unique: dict[str, PurePosixPath] = {}
    for path in sorted(rows):
        unique.setdefault(sample_id_of(path), path)  # names that differ in unsafe characters only are one sample
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifest = folder / "m.csv"
        for path in unique.values():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text("1")
        manifest.write_text("file,caption\n" + "".join(f'"{path}",{rows[path]}\n' for path in unique.values()))
        if not unique:
            with pytest.raises(FieldError, match="no file with one of the extensions line"):
                LineFolder(folder)
            return
        data = LineFolder(folder, manifest)
        assert dict(zip(data.ids, data.files.values(), strict=True)) == {i: folder / p for i, p in unique.items()}
        assert [data[i].captions for i in range(len(data))] == [{"caption": rows[p]} for p in unique.values()]


def test_a_new_source_is_one_short_class(tmp_path: Path) -> None:
    data = subset(LineFolder(lines(tmp_path, a="1 2", b="3 4", c="5 6")), limit=2, offset=1)
    assert list(data.ids) == ["b", "c"]
    target = data[0].target
    assert target is not None
    assert target.tolist() == [3, 4]
    assert data[0].measurement is None


def test_manifest_errors_name_paths_and_likely_misspellings(tmp_path: Path) -> None:
    for name in ("a/x.png", "b/x.png", "c.png"):
        picture(tmp_path / name)
    manifest = tmp_path / "m.csv"
    manifest.write_text("file,caption\na/x.png,one\nB/x.png,two\n")
    message = (
        r"m\.csv misses 2 of 3 images: b/x\.png, c\.png; add a row for each \(rows that match none of them: B__x\)"
    )
    with pytest.raises(FileError, match=message):
        ImageFolder(tmp_path, 8, manifest=manifest)
    manifest.write_text("file,caption\na/x.png,one\nb/x.png,two\nc.png,three\nnowhere.png,four\n")
    assert len(ImageFolder(tmp_path, 8, manifest=manifest)) == 3  # a manifest may serve several folders


def test_a_link_to_a_missing_file_is_no_smaller_folder(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone" / "b.png")
    with pytest.raises(FileError, match=r"1 of 2 files in .* cannot be used: b\.png \(.*No such file"):
        subset(ImageFolder(tmp_path, 8))
    (tmp_path / "b.png").unlink()
    (tmp_path / "b.png").mkdir()
    assert ImageFolder(tmp_path, 8).ids == ["a"]


def test_an_empty_path_is_not_the_current_folder() -> None:
    with pytest.raises(FieldError, match=r"^path='': is empty; give the folder"):
        ImageFolder("", 8)


@pytest.mark.parametrize("kind", ["jpg", "tif", "bmp"])
def test_selected_files_are_decoded_before_the_run(tmp_path: Path, kind: str) -> None:
    picture(tmp_path / "a.png")
    for name in "bcd":
        cut(picture(tmp_path / f"{name}.{kind}"))
    data = ImageFolder(tmp_path, 8)  # the headers are intact
    assert list(subset(data, limit=1).ids) == ["a"]
    message = rf"cannot read the image .*b\.{kind}: .*truncated.* 1 more cannot be used: c\.{kind}$"
    with pytest.raises(FileError, match=message):
        subset(data, limit=3)
    assert len(subset(ImageFolder(tmp_path, 8, verify=False))) == 4


def test_selected_measurements_have_values_and_one_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 4)))
    np.save(tmp_path / "b.npy", np.zeros((3, 4, 4)))
    picture(tmp_path / "c.png", (5, 4))
    np.save(tmp_path / "d.npy", np.full((3, 4, 4), np.nan))
    data = MeasurementFolder(tmp_path)
    assert len(subset(data, limit=2)) == 2
    message = r"a\.npy has the shape \(3, 4, 4\), but c\.png has \(3, 4, 5\); all samples of a run must have one shape"
    with pytest.raises(FileError, match=message):
        subset(data, limit=3)
    with pytest.raises(FileError, match=r"d\.npy holds NaN or infinite values; fill or mask them"):
        subset(data)
    assert len(subset(MeasurementFolder(tmp_path, verify=False))) == 4
