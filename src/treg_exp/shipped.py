"""The folders that ship with the package, and the hashes that tell whether they are as published."""

from __future__ import annotations

import hashlib
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
SHIPPED = ("ambiguity", "emoji64", "emoji64_pixel", "emoji_test", "emoji_validation", "gallery", "judge", "lpips")
HASHES = "sha256.txt"
TEXT_FILES = (".json", ".csv", ".txt")


def write_hashes(folder: Path) -> Path:
    """Write ``sha256.txt`` beside the files of a shipped folder, in the format of the ``sha256sum`` command.

    Call it whenever the files change on purpose. Markdown and hidden files are left out: they change no result.

    Args:
        folder: the prior or the test set.

    Returns:
        The hash file.
    """
    from treg_exp.files import write_text  # which brings torch along

    names = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file() and file.suffix != ".md")
    listed = sorted(n.as_posix() for n in names if n.as_posix() != HASHES and not any(p[0] == "." for p in n.parts))
    return write_text(folder / HASHES, "".join(f"{file_hash(folder / name)}  {name}\n" for name in listed))


def read_hashes(folder: Path) -> dict[str, str]:
    """Hashes by relative path, as :func:`write_hashes` wrote them."""
    lines = (folder / HASHES).read_text(encoding="utf-8").splitlines()
    return {name: value for value, _, name in (line.partition("  ") for line in lines)}


def file_hash(file: Path) -> str:
    """SHA-256 in hex; of text, whichever line ends a checkout gave it."""
    data = file.read_bytes()
    return hashlib.sha256(data.replace(b"\r\n", b"\n") if file.suffix in TEXT_FILES else data).hexdigest()
