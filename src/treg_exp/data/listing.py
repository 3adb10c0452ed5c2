"""Which files of a folder are samples, and what they are called."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from treg_exp.data.naming import sample_id_of
from treg_exp.errors import FieldError, FileError

NAMED_AT_MOST = 5
LONGEST_ID = 255  # bytes in a file name, on all common file systems: a run makes a folder for each sample
#: Endings of pictures that are not read: whoever has them is told what to do.
CONVERTED = (".heic", ".heif", ".avif", ".jxl", ".svg", ".psd", ".dng")


def first_few(names: Sequence[str]) -> str:
    """The first few names, for an error message."""
    rest = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")


def list_files(folder: str | Path, extensions: Sequence[str]) -> dict[str, Path]:
    """sample_id -> file for all files below ``folder``, sorted by relative path; hidden ones are left out.

    Raises:
        FieldError: there is no such folder, or no file of these kinds in it.
        FileError: two files get the same id.
    """
    if not str(folder):
        raise FieldError("path", "''", "is empty; give the folder that holds the files")
    root = Path(folder).expanduser()
    if not root.exists():
        looked = "" if root.is_absolute() else f" (looked at {root.absolute()})"
        raise FieldError("path", folder, f"does not exist{looked}")
    if not root.is_dir():
        raise FieldError("path", folder, "is a file; give the folder that holds it")
    taken, others = survey(root, extensions)
    if not taken:
        kinds = ", ".join(extension.removeprefix(".") for extension in extensions)
        held = f"; it holds {listed}" if (listed := kinds_of(root, others)) else ""
        raise FieldError("path", folder, f"holds no file with one of the extensions {kinds}{held}")
    return {sample_id: root / path for sample_id, path in unique_ids(taken).items()}


def survey(root: Path, extensions: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Relative paths of the files of these kinds below a folder, sorted, and of all else but folders and hidden names.

    What is no file (a pipe would be waited for without end) and a linked folder count as else.
    """
    taken: list[Path] = []
    others: list[Path] = []
    for folder, folders, files in os.walk(root, onerror=_unreadable):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (name for name in files + links if not name.startswith(".")):
            path = os.path.join(folder, name)
            # A link to a missing file counts: it is reported as unusable, while leaving it out would go unnoticed.
            usable = name.lower().endswith(tuple(extensions)) and (os.path.isfile(path) or not os.path.exists(path))
            (taken if usable else others).append(Path(path).relative_to(root))
    return sorted(taken), sorted(others)


def _unreadable(error: OSError) -> None:
    raise FileError(f"cannot look into {error.filename}: {error.strerror}")


def kinds_of(root: Path, files: Sequence[Path]) -> str:
    """How many of these relative paths have each ending, the most frequent first."""

    def kind(path: Path) -> str:
        if (root / path).is_dir():
            return "linked folder"
        if (root / path).exists() and not (root / path).is_file():
            return "pipe or device"
        return path.suffix.lower() or "without ending"

    counts = Counter(map(kind, files)).most_common()
    return first_few([f"{n} {name}" + " (convert to PNG or JPEG)" * (name in CONVERTED) for name, n in counts])


def unique_ids(relative: Sequence[Path]) -> dict[str, Path]:
    """sample_id -> relative path; raises FileError where two files would share an id, or an id is too long."""
    files: dict[str, Path] = {}
    for path in relative:
        sample_id = sample_id_of(path)
        if sample_id in files:
            first, second = files[sample_id].as_posix(), path.as_posix()
            raise FileError(f"{first} and {second} would both be sample {sample_id!r}; rename one of them")
        if len(sample_id) > LONGEST_ID:
            raise FileError(
                f"{path.as_posix()}: its sample id has {len(sample_id)} characters, a folder name can have "
                f"{LONGEST_ID}; shorten the names, or give a deeper folder"
            )
        files[sample_id] = path
    return files


def check_files(folder: Path, files: Sequence[Path], reason: Callable[[Path], str | None]) -> None:
    """Raise one FileError that names the unusable files.

    Args:
        folder: where the files are; the message gives their paths below it.
        files: what to check.
        reason: why a file cannot be used, or None.
    """
    broken = [f"{path.relative_to(folder)} ({why})" for path in files if (why := reason(path)) is not None]
    if broken:
        raise FileError(
            f"{len(broken)} of {len(files)} files in {folder} cannot be used: {first_few(broken)}. "
            "Repair them or take them out of the folder."
        )
