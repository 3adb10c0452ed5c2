"""Names of files as ids of samples: folder names on every file system, and keys of the random streams."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path

UNSAFE = re.compile(r"[^A-Za-z0-9._-]|^[.-]|\.$")  # a folder -x or x. is an option or another folder to some programs
FOREIGN = re.compile(r"[^\x00-\x7f]+")
#: A path in safe characters: nearly all are, and of a million files each step counts.
PLAIN = re.compile(r"(?:\w[\w.-]*/)*\w(?:[\w.-]*[\w-])?", re.ASCII)
SUFFIX = re.compile(r"(?<=[\w-])\.\w+$", re.ASCII)  # of such a path; what stands before it is one, too
HASH_DIGITS = 8  # hexadecimal: of 10,000 names two have the same with a probability of 1 %, and are told so


def sample_id_of(relative: str | Path) -> str:
    """Folder-safe id of a file: that of its relative path without suffix, see :func:`identifier`.

    >>> sample_id_of("cats/grey tabby.png")
    'cats__grey_tabby'
    """
    if isinstance(relative, str) and PLAIN.fullmatch(relative) and (suffix := SUFFIX.search(relative)):
        return relative[: suffix.start()].replace("/", "__")
    return identifier(Path(relative).with_suffix("").as_posix())


def identifier(name: str) -> str:
    """A name in safe characters: ``/`` becomes ``__``, others ``_``; one that is not ASCII ends in a part of its hash.

    So names of foreign letters differ where the names do. The two Unicode forms of a letter (NFC and NFD: file
    systems change them) are one. A safe name stays as it is.

    >>> identifier("Käse"), identifier("東京")
    ('Kase-f9eeb52c', '_-130016b2')
    """
    if PLAIN.fullmatch(name):
        return name.replace("/", "__")
    composed = unicodedata.normalize("NFC", name)
    safe = UNSAFE.sub("_", FOREIGN.sub(_in_ascii, composed).replace("/", "__"))
    if composed.isascii():
        return safe
    content = composed.encode("utf-8", "surrogatepass")  # names on a disk need not be Unicode
    return f"{safe}-{hashlib.sha256(content).hexdigest()[:HASH_DIGITS]}"


def _in_ascii(found: re.Match[str]) -> str:
    """Letters without their accents; all others as ``_``, however many."""
    letters = (c for c in unicodedata.normalize("NFKD", found[0]) if not unicodedata.combining(c))
    return re.sub(r"[^A-Za-z0-9]+", "_", "".join(letters))
