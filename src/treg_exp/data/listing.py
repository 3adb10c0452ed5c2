"""Which files of a folder are samples, and what they are called. The folder is walked once, however large it is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from treg_exp.data.naming import sample_id_of
from treg_exp.errors import FieldError, FileError

NAMED_AT_MOST = 5
LONGEST_ID = 255  # bytes in a file name, on all common file systems: a run makes a folder for each sample
#: Endings of pictures that are not read: whoever has them is told what to do.
CONVERTED = (".heic", ".heif", ".avif", ".jxl", ".svg", ".psd", ".dng")
METADATA = ("metadata.jsonl", "metadata.csv")  # files of Hugging Face that hold texts


def first_few(names: Sequence[str]) -> str:
    """The first few names, for an error message."""
    rest = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")


@dataclass
class Listing:
    """What is below a folder, but for hidden names.

    Attributes:
        root: the folder.
        paths: relative paths of the files that are read, with ``/``, in the order of their parts. They are texts: a
            million of them take 90 MB, as ``Path`` 400.
        others: how many other files of each kind there are.
        tables: relative paths of those that hold texts in the manner of Hugging Face.
    """

    root: Path
    paths: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    tables: list[str] = field(default_factory=list)

    @property
    def kinds(self) -> str:
        """How many other files have each ending, the most frequent first."""
        counts = sorted(self.others.items(), key=lambda kind: (-kind[1], kind[0]))
        return first_few([f"{n} {name}" + " (convert to PNG or JPEG)" * (name in CONVERTED) for name, n in counts])


class Files(Mapping[str, Path]):
    """sample_id -> file, in order. Paths are made when they are asked for, see `Listing`.

    Args:
        root: the folder.
        relative: sample_id -> path below it.
    """

    def __init__(self, root: Path, relative: Mapping[str, str]) -> None:
        self.root, self.relative = root, relative

    def __getitem__(self, sample_id: str) -> Path:
        return self.root / self.relative[sample_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.relative)

    def __len__(self) -> int:
        return len(self.relative)


def list_files(folder: str | Path, extensions: Sequence[str], manifest: Path | None = None) -> Listing:
    """All files below ``folder`` that have one of these endings; ``manifest`` is a file that counts as read.

    Raises:
        FieldError: there is no such folder, or no file of these kinds in it.
        FileError: a folder below it cannot be looked into.
    """
    if not str(folder):
        raise FieldError("path", "''", "is empty; give the folder that holds the files")
    root = Path(folder).expanduser()
    if not root.exists():
        looked = "" if root.is_absolute() else f" (looked at {root.absolute()})"
        raise FieldError("path", folder, f"does not exist{looked}")
    if not root.is_dir():
        raise FieldError("path", folder, "is a file; give the folder that holds it")
    found = survey(root, tuple(extensions), manifest)
    if not found.paths:
        kinds = ", ".join(extension.removeprefix(".") for extension in extensions)
        held = f"; it holds {found.kinds}" if found.others else ""
        raise FieldError("path", folder, f"holds no file with one of the extensions {kinds}{held}")
    return found


def survey(root: Path, extensions: tuple[str, ...], manifest: Path | None = None) -> Listing:
    """What is below a folder; a file with one of the endings is read, all else counts by its kind.

    What is no file (a pipe would be waited for without end) and a linked folder count as else.
    """
    found = Listing(root)
    read = manifest.resolve() if manifest else None
    waiting = [iter(_entries(found, "", extensions, read))]  # what is left of each folder on the way to this one
    while waiting:
        path = next(waiting[-1], None)
        if path is None:
            waiting.pop()
        elif path.endswith("/"):
            waiting.append(iter(_entries(found, path, extensions, read)))
        else:
            found.paths.append(path)
    return found


def _entries(found: Listing, folder: str, extensions: tuple[str, ...], manifest: Path | None) -> list[str]:
    """Relative paths of a folder's files that are read and of its folders, these with a ``/``; counts the others."""
    paths: list[str] = []
    try:
        with os.scandir(found.root / folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    paths.append(f"{folder}{name}/")
                # A link to a missing file counts: it is reported as unusable, while leaving it out would go unnoticed.
                elif name.lower().endswith(extensions) and (_is_file(entry) or not os.path.exists(entry.path)):
                    paths.append(folder + name)
                elif manifest is None or Path(entry.path).resolve() != manifest:
                    found.others[_kind(entry)] += 1
                    if name in METADATA:
                        found.tables.append(folder + name)
    except OSError as error:
        raise FileError(f"cannot look into {error.filename}: {error.strerror}") from None
    return sorted(paths, key=lambda path: path.removesuffix("/"))


def _is_file(entry: os.DirEntry[str]) -> bool:
    """The listing says it of all but links, which are looked up."""
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()


def _kind(entry: os.DirEntry[str]) -> str:
    """The ending of a file that is not read, or what else it is."""
    if _is_file(entry) or not os.path.exists(entry.path):
        return os.path.splitext(entry.name)[1].lower() or "without ending"
    return "linked folder" if os.path.isdir(entry.path) else "pipe or device"


def unique_ids(relative: Iterable[str]) -> dict[str, str]:
    """sample_id -> relative path; raises FileError where two files would share an id, or an id is too long."""
    files: dict[str, str] = {}
    for path in relative:
        sample_id = sample_id_of(path)
        if (first := files.setdefault(sample_id, path)) is not path:
            raise FileError(f"{first} and {path} would both be sample {sample_id!r}; rename one of them")
        if len(sample_id) > LONGEST_ID:
            raise FileError(
                f"{path}: its sample id has {len(sample_id)} characters, a folder name can have "
                f"{LONGEST_ID}; shorten the names, or give a deeper folder"
            )
    return files
