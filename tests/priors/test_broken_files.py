"""Every file of a folder, broken in every way that downloads and editors break files: one line that names it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.priors.test_folder import check
from treg_exp.errors import FieldError, FileError
from treg_exp.priors.folder import prior_path
from treg_exp.priors.tiny import FILES

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1234\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"
DAMAGE: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
    "missing": (lambda data: None, "missing"),
    "empty": (lambda data: b"", "is empty; download it again"),
    "truncated": (lambda data: data[: len(data) // 2], "is truncated|is no valid JSON"),
    "pointer": (lambda data: POINTER, "is a Git LFS pointer .* `git lfs pull`"),
    "page": (lambda data: PAGE, "is an HTML page"),
    "mark": (lambda data: b"\xef\xbb\xbf" + data, "byte order mark|is truncated or no safetensors file"),
    "bytes": (lambda data: bytes(range(128, 256)), "is no UTF-8 text|is truncated or no safetensors file"),
    "list": (lambda data: b"[1, 2]", "holds no JSON object|is truncated or no safetensors file"),
}
#: Read by pipelines alone: this kind of prior needs nothing of it.
UNREAD = "model_index.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(prior_path("tiny_random"), tmp_path_factory.mktemp("prior") / "prior")


def refusal(folder: Path, **options: object) -> str:
    with pytest.raises((FieldError, FileError)) as caught:
        check(folder, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    return message


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_file(folder: Path, damage: str) -> None:
    change, told = DAMAGE[damage]
    for name in FILES:
        kept = (folder / name).rename(folder / "kept")
        data = change(kept.read_bytes())
        if data is not None:
            (folder / name).write_bytes(data)
        if name == UNREAD:
            check(folder)
        else:
            message = refusal(folder)
            assert name in message or f"{name.split('/')[0]} " in message, message
            assert re.search(told, message), message
        kept.replace(folder / name)
    check(folder)
