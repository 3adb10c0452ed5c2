"""Prompts are resolved for all samples at once, and a missing one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from treg_exp.data.prompts import FixedPrompt, ManifestPrompt, PromptFromCaption
from treg_exp.errors import FieldError, FileError

SAMPLES = [("a", {"caption": "a cat", "counterfactual": "a dog"}), ("b", {"caption": "a {text}"})]


def test_caption_with_a_template_keeps_braces_of_the_text() -> None:
    assert PromptFromCaption().resolve(SAMPLES) == ["a cat", "a {text}"]
    rule = PromptFromCaption(template="a photo of {text}, {x}")
    assert rule.resolve(SAMPLES) == ["a photo of a cat, {x}", "a photo of a {text}, {x}"]
    with pytest.raises(FieldError, match=r"^template=a photo: must contain \{text\}"):
        PromptFromCaption(template="a photo")


def test_a_missing_role_names_samples_and_roles() -> None:
    message = r"^role=counterfactual: the data has no such text for 1 of 2 samples: b; .*: caption, counterfactual$"
    with pytest.raises(FieldError, match=message):
        PromptFromCaption("counterfactual").resolve(SAMPLES)
    with pytest.raises(FieldError, match="roles with a text: none"):
        PromptFromCaption().resolve([("a", {})])


def test_many_missing_samples_are_shortened() -> None:
    with pytest.raises(FieldError, match="for 9 of 9 samples: 0, 1, 2, 3, 4 and 4 more;"):
        PromptFromCaption().resolve([(str(i), {}) for i in range(9)])


def test_fixed_prompt() -> None:
    assert FixedPrompt("").resolve(SAMPLES) == ["", ""]
    with pytest.raises(FieldError, match=r"^text=null: must be text"):
        FixedPrompt(None)  # type: ignore[arg-type]


def test_manifest_prompt(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("file,caption,style\nb.png,two,\na.jpg,one,ink\nunused.png,three,\n")
    assert ManifestPrompt(path).resolve(SAMPLES) == ["one", "two"]
    with pytest.raises(FieldError, match=r"^role=style: prompt manifest p\.csv has no such text for 1 of 2 samples: b"):
        ManifestPrompt(path, role="style").resolve(SAMPLES)
    with pytest.raises(FileError, match=r"manifest p\.csv misses 1 of 3 images: c; add a row"):
        ManifestPrompt(path).resolve([*SAMPLES, ("c", {})])
