"""Atomic writing, and what a file looks like that is there up to its end."""

from __future__ import annotations

import errno
import os
import resource
import signal
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from treg_exp.errors import FileError
from treg_exp.files import WriteError, append_json_line, leftover, read_json, whole, write_bytes
from treg_exp.signals.audio import AudioMedium
from treg_exp.signals.image import ImageMedium


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch):
    """No file may grow beyond some bytes: the part of a write that fits is written, the rest is an error."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_what_does_not_fit_leaves_the_old_file_and_no_other(tmp_path: Path, full_disk) -> None:
    file = write_bytes(tmp_path / "a.bin", b"old")
    full_disk(1000)
    with pytest.raises(WriteError, match=f"^cannot write {file}: File too large$") as error:
        write_bytes(file, bytes(2000))
    assert (error.value.errno, error.value.filename) == (errno.EFBIG, str(file))
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_row_that_did_not_fit_is_closed_by_the_next(tmp_path: Path, full_disk) -> None:
    file = append_json_line(tmp_path / "rows.jsonl", {"a": 1})
    full_disk(1000)
    with pytest.raises(WriteError, match=r"cannot write .*rows\.jsonl"):
        append_json_line(file, {"b": "x" * 2000})
    full_disk(10_000)
    append_json_line(file, {"c": 3})
    lines = file.read_text().splitlines()
    assert (lines[0], lines[-1], len(lines)) == ('{"a": 1}', '{"c": 3}', 3)


def test_data_are_on_the_disk_before_they_have_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: calls.append(os.readlink(f"/proc/self/fd/{number}")))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: [calls.append("rename"), replace(self, to)][1])
    write_bytes(tmp_path / "a", b"1")
    append_json_line(tmp_path / "rows", {})
    assert [Path(call).name[:3] for call in calls] == [".a.", "ren", "row"]
    assert leftover(Path(calls[0]))
    assert not any(map(leftover, map(Path, ("/x/.a.tmp", "/x/.notes.0123456789abcdef.tmp", "/x/a.0123456789ab.tmp"))))


@pytest.mark.parametrize(("number", "fails"), [(errno.EDQUOT, True), (errno.EIO, True), (errno.EINVAL, False)])
def test_a_disk_that_is_found_full_at_last_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, fails: bool
) -> None:
    """As by NFS; EINVAL is a file system that has no such call."""

    def fsync(file: int) -> None:
        raise OSError(number, os.strerror(number))

    file = write_bytes(tmp_path / "a", b"old")
    monkeypatch.setattr(os, "fsync", fsync)
    for write in (lambda: write_bytes(file, b"new"), lambda: append_json_line(tmp_path / "rows", {})):
        with pytest.raises(WriteError, match=r"^cannot write ") if fails else nullcontext():
            write()
    assert file.read_bytes() == (b"old" if fails else b"new")


@pytest.mark.parametrize("content", ["", '{"a": ', "[1]", "\x00\x00", "null"])
def test_a_damaged_json_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(FileError, match=f"^{tmp_path}/a.json is damaged: "):
        read_json(tmp_path / "a.json")
    assert read_json(tmp_path / "b.json") == {}


@pytest.mark.parametrize(
    ("medium", "shape"), [(ImageMedium(), (3, 16, 16)), (AudioMedium(8000), (1, 64)), (AudioMedium(8000), (2, 1, 64))]
)
def test_signals_are_whole_until_a_byte_is_missing_or_wrong(tmp_path: Path, medium, shape: tuple[int, ...]) -> None:
    medium.save(torch.rand(shape) * 2 - 1, tmp_path / "x")
    files = list(tmp_path.iterdir())
    assert all(map(whole, files))
    for file in files:
        data = file.read_bytes()
        for damaged in (b"", data[:10], data[: len(data) // 2], data[:-1], bytes(len(data))):
            file.write_bytes(damaged)
            assert not whole(file)
        if file.suffix == ".png":
            file.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])
            assert not whole(file)
        file.unlink()
        assert not whole(file)


def test_several_lines_are_appended_in_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are on the disk together; a torn line of before is closed first."""
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(number) or fsync(number))
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"torn": ')
    append_json_line(file, *({"a": i} for i in range(3)))
    assert file.read_bytes() == b'{"torn": \n{"a": 0}\n{"a": 1}\n{"a": 2}\n'
    assert len(synced) == 1
