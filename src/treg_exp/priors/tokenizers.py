"""Tokenizers of a prior's folder, checked before any weights are loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from treg_exp.errors import FileError
from treg_exp.priors.checked_json import Section, check_content, is_whole, read_section, told
from treg_exp.priors.folder_files import read_config
from treg_exp.priors.small import WORD_END
from treg_exp.stamps import Stamp, stamps_in

#: The files that a vocabulary may be in; one of these sets has to be there.
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",))
SETTINGS = "tokenizer_config.json"
SHORTEST = 3  # tokens of a text: beginning, end and one between them
UNMADE = 0.01  # share of a vocabulary that may be there without a merge: words that somebody added by hand


def vocabulary_of(folder: Path) -> tuple[str, ...] | None:
    """Names of the files that hold a tokenizer's vocabulary; None where none is complete."""
    return next((names for names in VOCABULARIES if all((folder / name).is_file() for name in names)), None)


def load_tokenizer(folder: Path, part: str, name: str) -> Any:
    """A tokenizer of transformers, which all that ask for it share: loaded again only where its files have changed.

    Args:
        folder: of the prior.
        part: subfolder of the tokenizer.
        name: its class.

    Raises:
        FileError: its files cannot be read.
    """
    return _loaded(folder / part, name, stamps_in(folder / part))


@lru_cache(maxsize=8)
def _loaded(place: Path, name: str, stamps: tuple[Stamp, ...]) -> Any:
    """See above; the stamps are those of the files that it is read from."""
    import transformers

    try:
        return getattr(transformers, name).from_pretrained(place)
    except Exception as error:  # the library raises bare Exceptions about files
        raise FileError(f"{place} holds no {name}: {told(error)}") from error


def check_tokenizers(folder: Path, tokenizers: Mapping[str, str]) -> None:
    """Refuse tokenizers that cannot be read or that are those of another text encoder.

    Args:
        folder: of the prior.
        tokenizers: part -> class.

    Raises:
        FileError: see above; the message names the file and the key.
    """
    windows = {}
    for part, name in tokenizers.items():
        settings = read_section(folder / part / SETTINGS)
        names = vocabulary_of(folder / part) or ()
        for file in names:
            check_content(folder / part / file)
            if file.endswith(".json"):
                read_section(folder / part / file)
        encoder = read_config(folder / part.replace("tokenizer", "text_encoder"))
        if "extra_ids" in settings:  # of T5: pieces that are added one by one
            settings.whole("extra_ids", 0, encoder.whole("vocab_size"))
        tokenizer = load_tokenizer(folder, part, name)
        if len(tokenizer) > encoder.whole("vocab_size"):
            raise FileError(
                f"{folder / part} knows {len(tokenizer)} pieces, and {encoder.file} has vocab_size="
                f"{encoder['vocab_size']}: these are of two models"
            )
        if tokenizer.pad_token_id is None or tokenizer.eos_token_id is None:
            raise FileError(f"{settings.file} has no pad_token or no eos_token; texts cannot be padded")
        if name.startswith("CLIP"):
            windows[part] = _window(settings, encoder.whole("max_position_embeddings"))
            if "eos_token_id" in encoder:
                encoder.whole("eos_token_id", 0)
            _check_merges(folder / part, tokenizer)
    if len(set(windows.values())) > 1:
        each = ", ".join(f"{part} {window}" for part, window in windows.items())
        raise FileError(f"{folder}: the tokenizers have different values of model_max_length: {each}")


def _window(settings: Section, most: int) -> int:
    """Tokens of a text for CLIP: no more than its encoder has places."""
    window: Any = settings.get("model_max_length")
    if not is_whole(window, SHORTEST) or window > most:
        raise settings.wrong(
            "model_max_length", f"it must be a whole number from {SHORTEST} to {most}, the max_position_embeddings of "
            "its text encoder"
        )  # fmt: skip
    return int(window)


def _check_merges(place: Path, tokenizer: Any) -> None:
    """Refuse merges that were cut: texts would fall into letters, without a word."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    made = {"".join(merge if isinstance(merge, list) else merge.split(" ")) for merge in model["merges"]}
    pieces = [piece for piece in model["vocab"] if len(piece.removesuffix(WORD_END)) > 1]
    lost = set(pieces) - made - set(tokenizer.all_special_tokens) - set(tokenizer.get_added_vocab())
    if len(lost) > UNMADE * len(pieces):
        raise FileError(
            f"{place}: no merge makes {len(lost)} of {len(pieces)} pieces of the vocabulary; its merges are cut, "
            "download them again"
        )
