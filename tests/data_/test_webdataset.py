"""Tar shards: samples by key from their place in the archive, whatever wrote it."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from treg_exp.data.base import TextTable, left_out, subset
from treg_exp.data.folder import ImageFolder
from treg_exp.data.tar_members import Member, members
from treg_exp.data.webdataset import WebDataset, expanded
from treg_exp.errors import FieldError, FileError


def picture(seed: int, kind: str = "PNG", side: int = 8) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def shard(path: Path, files: dict[str, bytes], form: int = tarfile.USTAR_FORMAT, mtime: float = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), mtime
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards of three and two samples; the first pictures are seeds 0, 1, 2."""
    folder = tmp_path / "shards"
    for number, keys in enumerate([("a", "b", "c/d"), ("e", "f")]):
        files: dict[str, bytes] = {}
        for i, key in enumerate(keys):
            files[f"{key}.png"] = picture(3 * number + i)
            files[f"{key}.txt"] = f"picture {key}\n".encode()
            files[f"{key}.json"] = json.dumps({"name": f"thing {key}", "score": 0.5, "style": ""}).encode()
        shard(folder / f"s-{number:03d}.tar", files)
    return folder


def test_samples_are_read_from_their_place(shards: Path) -> None:
    data = WebDataset(shards, 8)
    assert data.ids == ["a", "b", "c__d", "e", "f"]
    for index in (4, 0, 2, 1, 3):  # in any order
        target = data[index].target
        assert target is not None
        expected = np.array(Image.open(io.BytesIO(picture(index))))
        assert torch.equal(((target + 1) * 127.5).round().permute(1, 2, 0), torch.from_numpy(expected).float())
    assert list(TextTable(data))[2] == ("c__d", {"caption": "picture c/d", "name": "thing c/d"})
    part = subset(data, limit=2, offset=2)
    assert (list(part.ids), part[1].captions["name"], left_out(part)) == (["c__d", "e"], "thing e", "")


def test_a_picture_is_the_same_as_from_a_file(tmp_path: Path) -> None:
    """Of TIFF, too, which is read with its directory shortened."""
    kinds = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF", "webp": "WEBP"}
    contents = {f"{kind}.{kind}": picture(1, name, side=24) for kind, name in kinds.items()}
    (tmp_path / "files").mkdir()
    for name, content in contents.items():
        (tmp_path / "files" / name).write_bytes(content)
    shard(tmp_path / "x.tar", contents)
    files, packed = ImageFolder(tmp_path / "files", 16), WebDataset(tmp_path / "x.tar", 16)
    by_id = {sample_id: packed[i].target for i, sample_id in enumerate(packed.ids)}
    for i, sample_id in enumerate(files.ids):
        assert torch.equal(files[i].target, by_id[sample_id])


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["a.png", "x" * 90 + "/" + "y" * 60 + ".png", "z" * 140 + ".png", "Käse.png"])
def test_headers_are_read_as_tarfile_reads_them(tmp_path: Path, form: int, name: str) -> None:
    if form == tarfile.USTAR_FORMAT and name.startswith("z"):
        pytest.skip("no such name in this format")
    path = shard(tmp_path / "s.tar", {name: b"1" * 700, "b.txt": b"", "c.json": b"{}"}, form, mtime=1.5)
    with tarfile.open(path) as tar:
        assert members(path) == [Member(m.name, m.offset_data, m.size) for m in tar]
    assert [m.name for m in members(path)] == [name, "b.txt", "c.json"]


def test_captions_say_which_text_is_in_which_role(shards: Path) -> None:
    data = WebDataset(shards, 8, captions={"caption": "json.name", "text": "txt"})
    assert data.captions(3) == {"caption": "thing e", "text": "picture e"}
    for wrong in ("json", "txt.a", ""):
        with pytest.raises(FieldError, match=r"captions\.caption=.*: must be txt, or json\.KEY"):
            WebDataset(shards, 8, captions={"caption": wrong})


def test_samples_without_a_picture_are_counted(tmp_path: Path) -> None:
    files = {"a.png": picture(0), "b.txt": b"x", "c.cls": b"1", "d.txt": b"y", "./._a.png": b"junk", "e.input.png": b""}
    data = WebDataset(shard(tmp_path / "s.tar", files), 8)
    assert data.ids == ["a"]
    told = f"4 samples of {tmp_path}/s.tar without a picture left out: 2 of txt, 1 of cls, 1 of input.png"
    assert left_out(data) == told
    assert data.captions(0) == {}
    assert WebDataset(tmp_path / "s.tar", 8, image=".INPUT.png", verify=False).ids == ["e"]
    with pytest.raises(FieldError, match=r"image=seg\.png: no sample of .*s\.tar has such a picture; .* have: cls"):
        WebDataset(tmp_path / "s.tar", 8, image="seg.png")


def test_two_pictures_of_a_sample_need_a_name(tmp_path: Path) -> None:
    path = shard(tmp_path / "s.tar", {"a.png": picture(0), "a.jpg": picture(0, "JPEG")})
    with pytest.raises(FieldError, match=r"^image=null: a of s\.tar has the pictures png, jpg; name one"):
        WebDataset(path, 8)
    assert WebDataset(path, 8, image="jpg").ids == ["a"]


def test_shards_with_the_same_keys(tmp_path: Path) -> None:
    for name in ("x", "y"):
        shard(tmp_path / f"{name}.tar", {"0.png": picture(0)})
    with pytest.raises(FileError, match=r"samples 0 and 1 .* would both be '0'; data\.shard_in_id=true tells"):
        WebDataset(tmp_path, 8)
    assert WebDataset(tmp_path, 8, shard_in_id=True).ids == ["x__0", "y__0"]


def test_patterns(shards: Path) -> None:
    assert expanded("s-{08..10}.tar") == ["s-08.tar", "s-09.tar", "s-10.tar"]
    assert expanded("{a,b}{1..2}") == ["a1", "a2", "b1", "b2"]
    assert WebDataset(f"{shards}/s-{{000..001}}.tar", 8).ids == WebDataset(shards, 8).ids
    assert WebDataset(f"{shards}/s-{{001,000}}.tar", 8).ids[:2] == ["e", "f"]
    with pytest.raises(FieldError, match=r"1 of 3 shards are missing: .*s-002\.tar"):
        WebDataset(f"{shards}/s-{{000..002}}.tar", 8)
    with pytest.raises(FieldError, match=r"^path=x-\{3\.\.1\}\.tar: the range \{3\.\.1\} is empty; .*: \{1\.\.3\}"):
        WebDataset("x-{3..1}.tar", 8)
    with pytest.raises(FieldError, match=r"names more than 1000000 shards"):
        WebDataset("s-{0..99999999999}.tar", 8)
    (shards / "other").mkdir()
    (shards / "other" / "a.tar.gz").write_bytes(b"")
    with pytest.raises(FieldError, match=r"holds no file with one of the extensions tar; it holds 1 \.gz"):
        WebDataset(shards / "other", 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"\x1f\x8b compressed" * 100, "invalid header"),
        (None, r"it is cut off within b\.png"),
    ],
)
def test_what_is_no_whole_archive_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = shard(tmp_path / "s.tar", {"a.png": picture(0), "b.png": picture(0)})
    whole = path.read_bytes()
    path.write_bytes(whole[: 512 + 512 + 512 + 30] if content is None else content)
    with pytest.raises(FileError, match=rf"s\.tar is no tar archive that can be read: {message}"):
        WebDataset(tmp_path, 8)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])  # the other is read by tarfile
@pytest.mark.parametrize("rest", [0, 200, 512 + 512], ids=["between", "in a header", "before the zeros"])
def test_an_archive_cut_between_two_files_is_refused(tmp_path: Path, form: int, rest: int) -> None:
    """It looks whole but for its end; what was cut off would be missing without a word."""
    long = "x" * 120 + ("/" if form == tarfile.USTAR_FORMAT else "") + "a.txt"
    path = shard(tmp_path / "s.tar", {long: b"1" * 600, "b.txt": b"2", "c.txt": b"3"}, form)
    place, whole = members(path), path.read_bytes()
    path.write_bytes(whole[: place[1].offset - 512 + rest])
    last = "b.txt" if rest == 1024 else long
    with pytest.raises(FileError, match=rf"s\.tar is no tar .*: it is cut off or damaged after {last}: neither"):
        members(path)
    with path.open("ab") as file:  # what the message advises
        file.write(bytes(1024))
    if rest != 200:
        assert members(path) == place[: 2 if rest else 1]
    path.write_bytes(whole[: place[2].offset + 512 + 512])  # a block of zeros is enough
    assert members(path) == place


def test_broken_pictures_and_texts_are_named(tmp_path: Path) -> None:
    files = {"a.png": picture(0), "b.png": b"no picture", "c.jpg": picture(0, "JPEG", side=64)[:700], "c.json": b"[]"}
    data = WebDataset(shard(tmp_path / "s.tar", files), 8)
    assert len(subset(data, limit=1)) == 1
    message = r"1 of 3 pictures in .*s\.tar cannot be used: b in s\.tar \(it is no picture that can be read"
    with pytest.raises(FileError, match=message):
        subset(data)
    with pytest.raises(FileError, match=r"cannot read the image c in s\.tar of .*truncated"):
        subset(data, offset=2)
    with pytest.raises(FileError, match=r"c in s\.tar of .*: its json is no object"):
        data.captions(2)
    with (tmp_path / "s.tar").open("r+b") as file:
        file.truncate(600)
    with pytest.raises(FileError, match=r"was cut off since the run began"):
        data.content(1)


@given(st.lists(st.binary(max_size=1100), min_size=1, max_size=5))
def test_every_content_is_found(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    path = shard(tmp_path_factory.mktemp("t") / "s.tar", {f"{i}.txt": content for i, content in enumerate(contents)})
    whole = path.read_bytes()
    assert [whole[m.offset : m.offset + m.size] for m in members(path)] == contents
