"""How much of a text a prior reads: which texts its tokenizers cut, and where. No weights are needed for that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treg_exp.priors.tokenizers import load_tokenizer

TEXTS_AT_ONCE = 1024
SHOWN_TEXTS, SHOWN_LETTERS = 5, 60  # of a note, and of a text in it


@dataclass(frozen=True)
class Cut:
    """A text that is longer than a tokenizer's window.

    Attributes:
        text: all of it.
        word: the first word that is not read, or not to its end.
        number: which word that is, from 1.
    """

    text: str
    word: str
    number: int

    def __str__(self) -> str:
        return f"from word {self.number}, {_short(self.word)}, of {_short(self.text)}"


@dataclass(frozen=True)
class TextWindow:
    """One tokenizer of a prior.

    Attributes:
        folder: of the tokenizer.
        length: tokens of a text that are read, special ones included; None: what the tokenizer says.
        kind: its class in transformers.
    """

    folder: Path
    length: int | None = None
    kind: str = "CLIPTokenizer"

    def cuts(self, texts: Iterable[str]) -> tuple[int, list[Cut]]:
        """The tokens that are read of a text, and the texts that have more.

        Args:
            texts: one that is there twice is reported once.
        """
        tokenizer = load_tokenizer(self.folder.parent, self.folder.name, self.kind)
        length: int = self.length or tokenizer.model_max_length
        long = [text for part in _parts(texts) for text in _longer(tokenizer, part, length)]
        if not long:
            return length, []
        offsets = tokenizer(long, verbose=False, return_offsets_mapping=True).offset_mapping
        # The last token of the window marks the end of the text, in the place of this one.
        return length, [_cut(text, starts[length - 1][0]) for text, starts in zip(long, offsets, strict=True)]


def _parts(texts: Iterable[str]) -> Iterator[list[str]]:
    """Distinct texts, some at a time: the tokens of a hundred thousand captions take a gigabyte."""
    distinct = [text for text in dict.fromkeys(texts) if text]
    for start in range(0, len(distinct), TEXTS_AT_ONCE):
        yield distinct[start : start + TEXTS_AT_ONCE]


def _longer(tokenizer: Any, texts: list[str], length: int) -> list[str]:
    """The texts of more tokens than that, special ones included."""
    tokens = tokenizer(texts, verbose=False, return_attention_mask=False).input_ids
    return [text for text, own in zip(texts, tokens, strict=True) if len(own) > length]


def text_windows(folder: Path, tokenizers: Mapping[str, str], t5_tokens: int | None = None) -> tuple[TextWindow, ...]:
    """The windows of a prior.

    Args:
        folder: of the prior.
        tokenizers: part -> class.
        t5_tokens: length of a text for T5, whose tokenizers do not say.
    """
    return tuple(
        TextWindow(folder / part, t5_tokens if kind.startswith("T5") else None, kind)
        for part, kind in tokenizers.items()
    )


def cut_notes(windows: Sequence[TextWindow], texts: Iterable[str]) -> list[str]:
    """One note for all tokenizers that cut the same texts in the same places, none where no text is cut.

    Args:
        windows: of a prior.
        texts: everything that it will be told.
    """
    texts, notes = list(texts), dict[tuple[int, tuple[Cut, ...]], list[str]]()
    for window in windows:
        length, cuts = window.cuts(texts)
        if cuts:
            notes.setdefault((length, tuple(cuts)), []).append(window.folder.name)
    return [_note(" and ".join(names), length, cuts) for (length, cuts), names in notes.items()]


def _note(names: str, length: int, cuts: Sequence[Cut]) -> str:
    count = "1 text is" if len(cuts) == 1 else f"{len(cuts)} texts are"
    more = [f"and {len(cuts) - SHOWN_TEXTS} more"] if len(cuts) > SHOWN_TEXTS else []
    told = "\n  ".join([*map(str, cuts[:SHOWN_TEXTS]), *more])
    return f"{count} longer than the {length} tokens that the prior reads ({names}); what is not read:\n  {told}"


def _cut(text: str, first: int) -> Cut:
    """The cut of a text whose first token that is not read begins at this letter, or at the space before it."""
    first += len(text[first:]) - len(text[first:].lstrip())
    before = text[: first + 1].split()  # to the word of this letter
    return Cut(text, text.split()[len(before) - 1], len(before))


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN_LETTERS else f"{text[: SHOWN_LETTERS - 3]}...")
