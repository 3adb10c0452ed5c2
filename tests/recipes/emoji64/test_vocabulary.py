"""Byte-pair merges: the commonest pair first, ties by the alphabet, the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from treg_exp.recipes.emoji64.vocabulary import WORD_END, learn_merges


def test_the_commonest_pair_is_joined_first() -> None:
    merges = learn_merges(Counter({"low": 5, "lower": 2, "newest": 6, "widest": 3}), 3)
    # Counted by hand: e-s and s-t</w> occur 9 times each, and e-s comes first in the alphabet.
    assert merges == [("e", "s"), ("es", f"t{WORD_END}"), ("l", "o")]


def test_pairs_that_occur_once_are_not_joined() -> None:
    assert learn_merges(Counter({"ab": 1}), 10) == []


def test_order_of_the_words_does_not_matter() -> None:
    words = {"tiger": 3, "tigers": 2, "time": 4, "grass": 4, "ant": 4, "and": 4}
    backwards = dict(reversed(words.items()))
    assert learn_merges(Counter(words), 20) == learn_merges(Counter(backwards), 20)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_every_process_learns_the_same(hash_seed: str) -> None:
    code = (
        "from collections import Counter; from treg_exp.recipes.emoji64.vocabulary import learn_merges;"
        "print(learn_merges(Counter('red apple green apple tiger time grass'.split()), 30))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    assert run.stdout.strip() == str(
        learn_merges(Counter(["red", "apple", "green", "apple", "tiger", "time", "grass"]), 30)
    )
