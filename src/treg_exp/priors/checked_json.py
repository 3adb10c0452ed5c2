"""Files of a prior's folder that people break: whether one is what its name says, and JSON with typed values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from treg_exp.errors import FileError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MOST_TOLD = 200  # letters of a library's message
LARGEST = 10**9  # number in a configuration file: beyond every width and vocabulary


def check_content(file: Path) -> None:
    """Refuse what a failed download leaves under a file's name.

    Raises:
        FileError: the file is empty, a pointer of Git LFS, or a web page.
    """
    with file.open("rb") as opened:
        start = opened.read(512)
    if not start:
        raise FileError(f"{file} is empty; download it again")
    if start.startswith(b"version https://git-lfs"):
        raise FileError(f"{file} is a Git LFS pointer and not the file itself; run `git lfs pull` in its repository")
    if start.removeprefix(BYTE_ORDER_MARK).lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise FileError(f"{file} is an HTML page and not the file itself; download it again")


class Section(dict[str, Any]):
    """The object in a JSON file, whose values are checked where they are read.

    Args:
        values: the object.
        file: where they stand.

    Raises:
        FileError: (by every access) the value is missing or cannot work; the message names file and key.
    """

    def __init__(self, values: dict[str, Any], file: Path) -> None:
        super().__init__(values)
        self.file = file

    def __missing__(self, key: str) -> Any:
        raise FileError(f"{self.file} has no {key}")

    def wrong(self, key: str, allowed: str) -> FileError:
        """The complaint about a value."""
        return FileError(f"{self.file}: {key} is {json.dumps(self.get(key))}; {allowed}")

    def whole(self, key: str, least: int = 1, most: int = LARGEST) -> int:
        """A whole number."""
        limits = f">= {least}" if most == LARGEST else f"from {least} to {most}"
        wanted = f"it must be a whole number {limits}"
        return int(self._checked(key, lambda value: is_whole(value, least) and value <= most, wanted))

    def wholes(self, key: str) -> list[int]:
        """A list of whole numbers >= 1, one at least."""
        wanted = "it must be a list of whole numbers >= 1"
        return list(self._checked(key, lambda value: is_list(value) and all(map(is_whole, value)), wanted))

    def texts(self, key: str) -> list[str]:
        """A list of texts, one at least."""
        wanted = "it must be a list of names"
        return list(self._checked(key, lambda value: is_list(value) and all(isinstance(v, str) for v in value), wanted))

    def sides(self, key: str) -> tuple[int, int]:
        """Height and width: a list of both, or one number that is both."""
        value = self[key]
        if is_whole(value):
            return value, value
        if is_list(value) and len(value) == 2 and all(map(is_whole, value)):
            return value[0], value[1]
        raise self.wrong(key, "it must be a whole number >= 1, or a list of height and width")

    def number(self, key: str, default: float | None = None, positive: bool = False) -> float:
        """A finite number; ``default`` where the file says null or nothing, unless there is none."""
        if default is not None and self.get(key) is None:
            return default
        wanted = "it must be a finite number" + (" > 0" if positive else "")
        return float(self._checked(key, lambda value: is_number(value) and (value > 0 or not positive), wanted))

    def flag(self, key: str, default: bool) -> bool:
        """True or false; ``default`` where the file says null or nothing."""
        said = default if self.get(key) is None else self[key]
        if not isinstance(said, bool):
            raise self.wrong(key, "it must be true or false")
        return said

    def _checked(self, key: str, holds: Callable[[Any], bool], wanted: str) -> Any:
        value = self[key]
        if not holds(value):
            raise self.wrong(key, wanted)
        return value


def told(error: Exception) -> str:
    """What a library says of a file, in one line; its own types of errors are part of it."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:MOST_TOLD]


def is_whole(value: Any, least: int = 1) -> bool:
    """Whether a value is a whole number of a sensible size."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST


def is_number(value: Any) -> bool:
    """Whether a value is a finite number of a sensible size."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def is_list(value: Any) -> bool:
    """Whether a value is a list with something in it."""
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0


def read_section(file: Path) -> Section:
    """The object in a JSON file.

    Raises:
        FileError: there is no file, it is broken, or it holds something else.
    """
    if not file.is_file():
        raise FileError(f"{file} is missing")
    check_content(file)
    data = file.read_bytes()
    if data.startswith(BYTE_ORDER_MARK):
        raise FileError(f"{file} begins with a byte order mark; save it as UTF-8 without one")
    try:
        values = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise FileError(f"{file} is no UTF-8 text; download it again") from None
    except (ValueError, RecursionError) as error:
        raise FileError(f"{file} is no valid JSON: {error}; download it again") from None
    if not isinstance(values, dict):
        raise FileError(f"{file} holds no JSON object; download it again")
    return Section(values, file)
