"""Texts that are longer than a prior reads are told, with the word at which they are cut."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import DATA
from tests.priors.folders import write_flux, write_sd3
from treg_exp.api import DiffusersFolder, Identity, TReg, measure, restore
from treg_exp.priors.texts.window import Cut, TextWindow, cut_notes

EMOJI = Path(DiffusersFolder(path="emoji64").folder)
LONG = "a red apple " + " ".join(["shiny"] * 40)


def test_the_word_is_the_first_that_changes_nothing() -> None:
    """The window of emoji64 has 30 tokens beside the special ones; shiny is three of them: 'a red apple', 9 shiny."""
    text = DiffusersFolder(path="emoji64").load().text
    length, cuts = TextWindow(EMOJI / "tokenizer").cuts([LONG, "a red apple", LONG, ""])
    assert (length, cuts) == (32, [Cut(LONG, "shiny", 13)])
    words = LONG.split()
    same = [" ".join(words[:12]), " ".join([*words[:12], "green", *words[13:]]), LONG]
    short, other, whole = (text.embed([one]).tokens for one in same)
    assert torch.equal(other, whole)
    assert torch.equal(short, whole)
    assert not torch.equal(text.embed([" ".join([*words[:11], "green"])]).tokens, whole)


@pytest.mark.parametrize(
    ("text", "word", "number"),
    [
        (" ".join(["tree"] * 5 + ["x" * 60, "end"]), "x" * 60, 6),  # cut within a word
        ("苹果" * 40, "苹果" * 40, 1),
        ("a " * 28 + "x🦄 ", "x🦄", 29),  # cut within a letter, and nothing but a space follows
        ("a " * 28 + "x🦄 end", "x🦄", 29),
        ("\n a\tred  apple " + "shiny " * 40, "shiny", 13),
    ],
)
def test_words_of_any_kind(text: str, word: str, number: int) -> None:
    _, (cut,) = TextWindow(EMOJI / "tokenizer").cuts([text])
    assert (cut.word, cut.number) == (word, number)


def test_t5_has_the_length_of_the_pipeline(tmp_path: Path) -> None:
    """The folders of the tests: CLIP reads 20 tokens, T5 as many as the pipeline says, or as it is told."""
    for write, default in ((write_sd3, 256), (write_flux, 512)):
        folder = write(tmp_path / write.__name__)
        windows = DiffusersFolder(path=str(folder)).info.text_windows
        assert [window.cuts(["a"])[0] for window in windows] == [*[20] * (len(windows) - 1), default]
        short = DiffusersFolder(path=str(folder), t5_tokens=8).info.text_windows
        assert short[-1].cuts(["cat dog cat dog"])[1] == [Cut("cat dog cat dog", "dog", 2)]
    text = "cat " * 30
    (note,) = cut_notes(DiffusersFolder(path=str(tmp_path / "write_sd3")).info.text_windows, [text])
    assert "(tokenizer and tokenizer_2)" in note


def test_a_note_names_a_few_texts_and_counts_the_others() -> None:
    (note,) = cut_notes([TextWindow(EMOJI / "tokenizer")], [f"{i} {LONG}" for i in range(9)])
    first, *lines = note.splitlines()
    assert first == "9 texts are longer than the 32 tokens that the prior reads (tokenizer); what is not read:"
    assert lines[0] == "  from word 13, 'shiny', of '0 a red apple shiny shiny shiny shiny shiny shiny shiny s...'"
    assert lines[5:] == ["  and 4 more"]
    assert cut_notes([TextWindow(EMOJI / "tokenizer")], ["a cat", ""]) == []


def test_the_library_warns() -> None:
    prior = DiffusersFolder(path=f"{DATA}/parity/tiny_model").load()
    problem = measure(Identity(signal_shape=(3, 64, 64)), torch.zeros(1, 3, 64, 64), sigma=0.1)
    long = "tree " * 90
    with pytest.warns(UserWarning, match=r"^1 text is longer than the \d+ tokens .*\n  from word \d+, 'tree', of "):
        restore(problem, prior, "a cat", TReg(steps=1), null_text=long)
