"""Names that a configuration gives: of variants, texts, tasks, metrics. They become folders, columns and headings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from treg_exp.data.listing import LONGEST_ID
from treg_exp.errors import ConfigError

FORBIDDEN = frozenset('/\\:*?"<>|[]')  # separators, what some file systems refuse, and markup of tables
FINE = re.compile(r"\w(?:[\w .-]*[\w-])?", re.ASCII)  # of a million sample names, nearly all
LONGEST = 100  # bytes: folders of a file system take 255, columns append to a name


def check_name(name: object, place: str) -> None:
    """Refuse a name that cannot be a folder, a column and a heading everywhere.

    Args:
        name: what the configuration says; YAML reads ``off`` and ``1`` as no text.
        place: where, for the message.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(name, str):
        raise ConfigError(f"{place}: the name {name!r} is no text; put it between quotes in YAML, or choose another")
    if problem := _problem(name, LONGEST, "."):
        raise ConfigError(f"{place}: the name {name[:LONGEST]!r} {problem}")


def check_names(names: Iterable[object], place: str) -> None:
    """`check_name` of the keys of a mapping; of two that differ in case alone, many file systems make one.

    Raises:
        ConfigError: about the first that is no name.
    """
    seen: dict[str, str] = {}
    for name in names:
        check_name(name, place)
        text = str(name)
        if (other := seen.setdefault(text.casefold(), text)) != text:
            raise ConfigError(f"{place}.{text}: differs from {other} in upper and lower case alone; rename one of them")


def check_sample_ids(ids: Iterable[object], place: str) -> None:
    """Refuse sample names of which no folder can be made, or that stand for two samples.

    Raises:
        ConfigError: about the first such name.
    """
    seen: set[object] = set()
    for sample_id in ids:
        if isinstance(sample_id, str):
            fine = len(sample_id) <= LONGEST_ID and FINE.fullmatch(sample_id)
            problem = "" if fine else _problem(sample_id, LONGEST_ID)
        else:
            problem = "is no text"
        if problem or sample_id in seen:
            raise ConfigError(f"{place}: the sample name {sample_id!r} {problem or 'is there twice'}")
        seen.add(sample_id)


def _problem(name: str, longest: int, further: str = "") -> str:
    """What is wrong with a name; nothing where it is fine."""
    if not name:
        return "is empty"
    if name[0] in " .-" or name[-1] in " .":
        return "must not begin with a space, a dot or a hyphen, nor end with a space or a dot"
    wrong = [c for c in name if c in FORBIDDEN or c in further or _is_invisible(c)]
    if wrong:
        return f"contains {wrong[0]!r}; letters, digits, spaces, _ and - are fine"
    size = len(name.encode())
    return f"has {size} bytes, at most {longest} are possible" if size > longest else ""


def _is_invisible(character: str) -> bool:
    """Control characters, halves of a pair, and every space but the common one."""
    return character != " " and unicodedata.category(character)[0] in "CZ"
