"""Which files of a folder are one table: names of splits and numbers of parts, as datasets and its hub write them.

Nothing is joined by guess: files that only look alike stay apart, and parts that are missing are named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from treg_exp.data.listing import first_few
from treg_exp.errors import FieldError

#: The end of a part's name: ``-00000-of-00003``, ``-00000``, or nothing but that; an old hub adds a hash. Dask and
#: DuckDB write ``.0`` and ``_0``.
PART = re.compile(r"(?P<sign>^|[-_.])(?P<number>\d+)(?:-of-(?P<count>\d+))?(?:-[0-9a-f]{16})?$")


class Part(NamedTuple):
    """A file, and what its name says.

    Attributes:
        name: of the split.
        number: of the part; None: it is not numbered.
        total: how many parts there are; None: it does not say so.
    """

    file: Path
    name: str
    number: int | None = None
    total: int | None = None


def chosen(split: str | None, splits: Sequence[str], path: str | Path) -> str:
    """The split that was asked for, or the only one.

    Raises:
        FieldError: there are several, or no such one.
    """
    if split is None and len(splits) == 1:
        return splits[0]
    if split is None or split not in splits:
        raise FieldError("split", split, f"{path} has {first_few(sorted(splits))}; choose one")
    return split


def files_of(split: str | None, files: Sequence[Path], path: str | Path) -> list[Path]:
    """The files of one split in their order, all of one kind.

    Args:
        split: its name; None where there is one.
        files: relative paths.
        path: the folder, for messages.

    Raises:
        FieldError: there is no such split, it is incomplete, or its files are not one table.
    """
    splits = splits_of(files)
    name = chosen(split, list(splits), path)
    parts = splits[name]
    kinds = {kind: [part.file for part in parts if part.file.suffix.lower() == kind] for kind in (".parquet", ".arrow")}
    if all(kinds.values()):
        counts = " and ".join(f"{len(found)} {kind}" for kind, found in kinds.items())
        example = ", ".join(str(found[0]) for found in kinds.values())
        raise FieldError("path", path, f"the split {name} has {counts} files ({example}); keep one kind in the folder")
    _refuse_incomplete(name, parts, path)
    return [part.file for part in parts]


def splits_of(files: Sequence[Path]) -> dict[str, list[Part]]:
    """Splits by name, their files in order.

    Where folders use the same name, as configurations of a repository do, the folder is in front of it.
    """
    named: dict[str, list[Part]] = {}
    for part in _parts(files):
        named.setdefault(part.name, []).append(part)
    splits: dict[str, list[Part]] = {}
    for name, parts in named.items():
        apart = len({part.file.parent for part in parts}) > 1 and not _is_whole(parts)
        for part in parts:
            splits.setdefault(_with_folder(part) if apart else name, []).append(part)
    return splits


def _parts(files: Sequence[Path]) -> list[Part]:
    """What the names say. ``x_1`` and ``x.1`` are parts beside ``x_0`` and ``x.0`` alone: else they may be versions."""
    found = [(file, PART.search(file.stem)) for file in files]
    begun = {_series(file, match) for file, match in found if match and not int(match["number"])}
    parts = []
    for file, match in found:
        if match is None or (match["sign"] in ("_", ".") and not match["count"] and _series(file, match) not in begun):
            parts.append(Part(file, file.stem))
        else:
            name = file.stem[: match.start()] or file.parent.name or "rows"
            parts.append(Part(file, name, int(match["number"]), int(match["count"]) if match["count"] else None))
    return parts


def _series(file: Path, match: re.Match[str]) -> tuple[Path, str]:
    """What numbered files have in common: the folder, and the name up to the number."""
    return file.parent, file.stem[: match.start("number")]


def _with_folder(part: Part) -> str:
    """``en/train``, of ``en/train-00000-of-00003`` and of ``en/train/0000``; ``./train`` without a folder."""
    folder = part.file.parent.as_posix()
    named_by_folder = (match := PART.search(part.file.stem)) is not None and not match.start()
    return folder if named_by_folder else f"{folder}/{part.name}"


def _numbers(parts: Sequence[Part]) -> range | None:
    """The numbers that the parts should have, from 0 or from 1; None where they do not agree how many there are."""
    counts = {part.total for part in parts}
    if len(counts) > 1 or (count := counts.pop()) is None:
        return None
    numbers = {part.number for part in parts}
    return range(1, count + 1) if count in numbers and 0 not in numbers else range(count)


def _is_whole(parts: Sequence[Part]) -> bool:
    """Whether they are the parts of one table, each once: these may lie in several folders."""
    numbers = _numbers(parts)
    return numbers is not None and sorted(part.number or 0 for part in parts) == list(numbers)


def _refuse_incomplete(name: str, parts: Sequence[Part], path: str | Path) -> None:
    together = len({part.file.parent for part in parts}) == 1
    if _is_whole(parts) or (together and all(part.total is None for part in parts)):
        return
    numbers = _numbers(parts)
    there = [part.number for part in parts]
    if numbers is None or not together or len(set(there)) < len(there) or not set(there) <= set(numbers):
        told = f"the split {name} has files that are not parts of one table: "
        told += f"{first_few([str(part.file) for part in parts])}; keep those that belong together"
        raise FieldError("path", path, told)
    missing = [_named(parts[0], number) for number in numbers if number not in there]
    told = f"{len(missing)} of {len(numbers)} parts of the split {name} are missing: {first_few(missing)}; "
    raise FieldError("path", path, told + "fetch them, or give one file, whose rows alone are taken then")


def _named(part: Part, number: int) -> str:
    """The name of another part."""
    match = PART.search(part.file.stem)
    assert match is not None  # it has a number
    digits = f"{number:0{len(match['number'])}d}"
    return f"{part.file.stem[: match.start('number')]}{digits}-of-{match['count']}{part.file.suffix}"
