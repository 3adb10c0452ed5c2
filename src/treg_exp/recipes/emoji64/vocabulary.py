"""A small byte-pair vocabulary for captions, as the tokenizer class that Stable Diffusion pipelines expect."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from treg_exp.priors.small import END, START, WORD_END, byte_pair_tokenizer

#: Tokens per prompt, both special ones included.
MAX_LENGTH = 32


def train_tokenizer(captions: Iterable[str], folder: Path, merges: int = 1240) -> Any:
    """Learn merges from captions; any other text falls back to pieces and in the end to bytes.

    Args:
        captions: every caption that training can draw.
        folder: where to save the tokenizer.
        merges: how many pieces to learn beside the 512 for bytes.

    Returns:
        The tokenizer as `load_tokenizer` gives it.
    """
    from transformers import CLIPTokenizer

    # Splitting and normalising are taken from the class that will apply the merges, so that they always agree.
    backend = CLIPTokenizer(vocab={START: 0, END: 1}, merges=[]).backend_tokenizer
    words = Counter(
        word
        for caption in captions
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(caption))
    )
    tokenizer = byte_pair_tokenizer(learn_merges(words, merges), MAX_LENGTH)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    return load_tokenizer(folder)


def load_tokenizer(folder: Path) -> Any:
    """Load a saved tokenizer (a CLIPTokenizer).

    Args:
        folder: where `train_tokenizer` saved it.
    """
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder)


def learn_merges(words: Counter[str], count: int) -> list[tuple[str, str]]:
    """Byte-pair encoding: repeatedly join the commonest pair of neighbouring pieces.

    The trainer of the `tokenizers` package breaks ties by a hash that differs between processes; here ties go to
    the alphabetically first pair, so that the same captions always give the same vocabulary.

    Args:
        words: how often each word occurs.
        count: how many merges to learn at most.

    Returns:
        Pairs of pieces in the order to apply them.
    """
    spelled = {word: [*word[:-1], word[-1] + WORD_END] for word in sorted(words)}
    totals: Counter[tuple[str, str]] = Counter()
    users: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def count_pairs(word: str, sign: int) -> None:
        for pair in pairwise(spelled[word]):
            totals[pair] += sign * words[word]
            users[pair].add(word)

    for word in spelled:
        count_pairs(word, 1)
    learnt: list[tuple[str, str]] = []
    while len(learnt) < count and totals:
        best = min(totals, key=lambda pair: (-totals[pair], pair))
        if totals[best] < 2:
            break
        learnt.append(best)
        for word in users.pop(best):
            count_pairs(word, -1)
            spelled[word] = _joined(spelled[word], best)
            count_pairs(word, 1)
        del totals[best]
    return learnt


def _joined(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    position = 0
    while position < len(pieces):
        if tuple(pieces[position : position + 2]) == pair:
            joined.append(pieces[position] + pieces[position + 1])
            position += 2
        else:
            joined.append(pieces[position])
            position += 1
    return joined
