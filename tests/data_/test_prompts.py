"""Prompts are resolved for all samples at once, and a missing one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from treg_exp.data.prompts import FixedPrompt, ManifestPrompt, PromptFromCaption, RandomCaption
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


def _styled(names: str, style: str) -> list[tuple[str, dict[str, str]]]:
    return [(f"{n}-{style}", {"caption": f"{n}, {style} style", "name": n, "style": style}) for n in names]


WHOLE = [*_styled("abcdefghij", "flat"), *_styled("abcdefghij", "round")]


def test_a_random_caption_is_anothers_in_the_same_style() -> None:
    drawn = RandomCaption().resolve(WHOLE)
    for (_, texts), text in zip(WHOLE, drawn, strict=True):
        assert text.endswith(f", {texts['style']} style")
        assert text != texts["caption"]
    assert len(set(drawn)) > 8
    assert drawn != RandomCaption(seed=1).resolve(WHOLE)
    any_style = RandomCaption(same=None).resolve(WHOLE)
    assert {text.split(", ")[1] for text in any_style[:10]} == {"flat style", "round style"}
    # A thing in another style is the same thing.
    assert all(text[0] != texts["name"] for (_, texts), text in zip(WHOLE, any_style, strict=True))


def test_a_random_caption_depends_on_no_limit_and_no_order() -> None:
    drawn = dict(zip((sample_id for sample_id, _ in WHOLE), RandomCaption().resolve(WHOLE), strict=True))
    part = [WHOLE[13], WHOLE[2]]
    assert RandomCaption().resolve(part, WHOLE[::-1]) == [drawn["d-round"], drawn["c-flat"]]


def test_a_random_caption_that_cannot_be_drawn_is_named() -> None:
    with pytest.raises(
        FieldError, match=r"^same=style: 1 of 1 samples: a-flat have no other sample with the same style"
    ):
        RandomCaption().resolve(WHOLE[:1], [WHOLE[0], WHOLE[10]])
    with pytest.raises(FieldError, match=r"^same=style: 2 of 2 samples: a, b"):
        RandomCaption().resolve(SAMPLES)
    assert RandomCaption(same=None).resolve(SAMPLES) == ["a {text}", "a cat"]
    # Other words for the same thing are no other thing.
    twice = [("x", {"caption": "a cat", "name": "cat"}), ("y", {"caption": "one cat", "name": "cat"})]
    with pytest.raises(FieldError, match="have no other sample that has another caption"):
        RandomCaption(same=None).resolve(twice)
    assert RandomCaption(same=None, unlike=None).resolve(twice) == ["one cat", "a cat"]
