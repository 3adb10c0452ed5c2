"""Pictures in the tar archives ("shards") of WebDataset, sample by sample.

Headers are read once, at the start; then every picture and text is read from its place in its shard. So a run takes any
part of the set, goes on where it stopped and shares it among processes as with files, and what is in memory are the
ids and 8 bytes for each offset. The package webdataset is not needed: it reads shards from one end to the other.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path

from treg_exp.data.listing import first_few, list_files
from treg_exp.data.naming import identifier
from treg_exp.data.picture_source import PictureSource, text_is_caption, texts_of, unique
from treg_exp.data.pictures import EXTENSIONS, Fit
from treg_exp.data.tar_members import members
from treg_exp.errors import FieldError, FileError

PARTS = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)")  # key and ending of a member, as WebDataset splits its name
BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
DEFAULT_TEXTS = ("txt", "json")
ABSENT = -1
MOST_SHARDS = 10**6  # of a pattern: more are a mistake


class WebDataset(PictureSource):
    """Pictures and texts of tar shards, in the order of the shards and of the pictures within them.

    Args:
        path: folder of ``.tar`` files, one of them, or a pattern with braces: ``shards/{000..127}.tar``.
        image_size: side of the square picture in pixels (the prior's).
        image: ending of the pictures, as ``jpg`` or ``input.png``; None: that of a kind that is read.
        captions: role -> where its text is: ``txt``, or ``json.KEY``. None: the ``txt`` is the caption, and every
            text in the ``json`` is in the role of its key.
        shard_in_id: put the shard's name before the key; for sets whose shards use the same keys.
        fit: how a picture becomes square: ``crop``, ``pad`` or ``stretch``.
        background: colour under transparent pixels and around padded pictures (a CSS name or #rrggbb).
        verify: look into the selected pictures before a model is loaded.

    Raises:
        FieldError: there are no such shards, no pictures in them, or a value is unknown.
        FileError: a shard cannot be read, or two samples have one id.
    """

    def __init__(
        self,
        path: str | Path,
        image_size: int,
        image: str | None = None,
        captions: Mapping[str, str] | None = None,
        shard_in_id: bool = False,
        fit: Fit = "crop",
        background: str = "white",
        verify: bool = True,
    ) -> None:
        super().__init__(image_size, fit, background, verify)
        self.sources = _sources(captions)
        self.shards = shards_of(path)
        self._path, self._image = str(path), None if image is None else image.removeprefix(".").lower()
        endings = {source.partition(".")[0] for source in self.sources.values()} if self.sources else DEFAULT_TEXTS
        self._texts = {ending: (array("q"), array("q")) for ending in sorted(endings)}  # offsets, sizes
        self._pictures = array("q"), array("q")
        self._shard = array("l")
        self._open: tuple[int, FileIO] | None = None  # samples mostly come in the order of the shards
        self._without: dict[str, int] = {}  # endings of samples that have no picture -> how many
        hint = "" if shard_in_id else "; data.shard_in_id=true tells shards apart that use the same keys"
        self._ids = unique(self._index(shard_in_id), hint)
        if not self._ids:
            kinds = first_few(sorted(self._without)) or "nothing"
            raise FieldError("image", image, f"no sample of {path} has such a picture; samples have: {kinds}")

    def _index(self, shard_in_id: bool) -> Iterator[str]:
        """The ids, while the places of what the samples hold are noted."""
        for number, shard in enumerate(self.shards):
            samples: dict[str, dict[str, tuple[int, int]]] = {}
            for name, *place in members(shard):
                if (parts := PARTS.fullmatch(name)) and not name.rpartition("/")[2].startswith("."):
                    samples.setdefault(parts[1], {})[parts[2].lower()] = (place[0], place[1])
            for key, found in samples.items():
                ending = self._picture(key, shard, found)
                if ending is None:
                    kinds = ", ".join(found)
                    self._without[kinds] = self._without.get(kinds, 0) + 1
                    continue
                for part, (offsets, sizes) in ((ending, self._pictures), *self._texts.items()):
                    offset, size = found.get(part, (ABSENT, 0))
                    offsets.append(offset)
                    sizes.append(size)
                self._shard.append(number)
                yield identifier(f"{shard.stem}/{key}" if shard_in_id else key.removeprefix("./"))

    def _picture(self, key: str, shard: Path, found: Mapping[str, object]) -> str | None:
        """The ending of a sample's picture, None where it has none."""
        if self._image is not None:
            return self._image if self._image in found else None
        pictures = [ending for ending in found if f".{ending}" in EXTENSIONS]
        if len(pictures) > 1:
            raise FieldError("image", None, f"{key} of {shard.name} has the pictures {', '.join(pictures)}; name one")
        return pictures[0] if pictures else None

    @property
    def ids(self) -> Sequence[str]:
        """See :class:`~treg_exp.data.base.Source`."""
        return self._ids

    def content(self, index: int) -> bytes:
        """See :class:`~treg_exp.data.picture_source.PictureSource`."""
        return self._read(index, self._pictures)

    def captions(self, index: int) -> Mapping[str, str]:
        """See :class:`~treg_exp.data.base.Source`; read from the shard."""
        found = {ending: self._text(index, ending) for ending in self._texts}
        stored = self._object(index, found["json"]) if found.get("json") else {}
        if self.sources:
            parts = ((role, *source.split(".", 1)) for role, source in self.sources.items())
            return texts_of((role, stored.get(key[0]) if key else found[ending]) for role, ending, *key in parts)
        texts = texts_of([*stored.items(), *([("caption", found["txt"])] if found["txt"] else [])])
        return {role: texts[name] for role, name in text_is_caption(texts).items()}

    def _object(self, index: int, text: str) -> Mapping[str, object]:
        try:
            stored = json.loads(text)
        except ValueError as error:
            raise FileError(f"{self.name(index)} of {self.place}: its json cannot be read: {error}") from None
        if not isinstance(stored, dict):
            raise FileError(f"{self.name(index)} of {self.place}: its json is no object")
        return stored

    def _text(self, index: int, ending: str) -> str:
        """A text of a sample; empty where it has none."""
        try:
            return self._read(index, self._texts[ending]).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise FileError(f"{self.name(index)} of {self.place}: its {ending} is not UTF-8") from None

    def _read(self, index: int, places: tuple[array[int], array[int]]) -> bytes:
        """The bytes of a member; none where the sample lacks it."""
        offset, size, shard = places[0][index], places[1][index], self._shard[index]
        if offset == ABSENT:
            return b""
        if self._open is None or self._open[0] != shard:
            if self._open is not None:
                self._open[1].close()
            self._open = shard, self.shards[shard].open("rb", buffering=0)
        self._open[1].seek(offset)
        content = self._open[1].read(size)
        if len(content) < size:
            raise FileError(f"{self.name(index)}: {self.shards[shard]} was cut off since the run began")
        return content

    def name(self, index: int) -> str:
        """Id and shard."""
        return f"{self._ids[index]} in {self.shards[self._shard[index]].name}"

    @property
    def place(self) -> str:
        """The path as it was given."""
        return self._path

    @property
    def left_out(self) -> str:
        """See :class:`~treg_exp.data.checked.CheckedSource`."""
        count = sum(self._without.values())
        most = sorted(self._without, key=lambda kinds: (-self._without[kinds], kinds))
        kinds = first_few([f"{self._without[kinds]} of {kinds}" for kinds in most])
        return f"{count} sample{'s' * (count > 1)} of {self._path} without a picture left out: {kinds}" if count else ""


def _sources(captions: Mapping[str, str] | None) -> dict[str, str]:
    """Checked ``captions``; none where the sample says itself what its texts are."""
    for role, source in (captions or {}).items():
        ending, _, key = source.partition(".")
        if not ending or (ending == "json") != bool(key):
            raise FieldError(f"captions.{role}", source, "must be txt, or json.KEY for a text of the json")
    return dict(captions or {})


def shards_of(path: str | Path) -> list[Path]:
    """The shards of a folder in the order of their paths, or of a pattern with braces in the order of that.

    Raises:
        FieldError: there are none, or one that the pattern names is missing.
    """
    named = [Path(one).expanduser() for one in expanded(str(path))]
    if len(named) == 1 and named[0].suffix.lower() != ".tar":
        found = list_files(path, (".tar",))
        return [found.root / relative for relative in found.paths]
    missing = [str(one) for one in named if not one.is_file()]
    if missing:
        raise FieldError("path", path, f"{len(missing)} of {len(named)} shards are missing: {first_few(missing)}")
    return named


def expanded(pattern: str) -> list[str]:
    """What a pattern with braces stands for.

    >>> expanded("s-{08..10}.tar"), expanded("{a,b}{1..2}")
    (['s-08.tar', 's-09.tar', 's-10.tar'], ['a1', 'a2', 'b1', 'b2'])

    Raises:
        FieldError: a range is empty, or names too many.
    """
    if (found := BRACES.search(pattern)) is None:
        return [pattern]
    first, last, listed = found.groups()
    if listed is None:
        if int(last) < int(first):
            told = f"the range {found[0]} is empty; the smaller number comes first: {{{last}..{first}}}"
            raise FieldError("path", pattern, told)
        if int(last) - int(first) >= MOST_SHARDS:
            raise FieldError("path", pattern, f"names more than {MOST_SHARDS} shards")
        parts = [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    else:
        parts = listed.split(",")
    return [whole for part in parts for whole in expanded(pattern[: found.start()] + part + pattern[found.end() :])]
