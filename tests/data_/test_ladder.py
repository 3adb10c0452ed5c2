from __future__ import annotations

import pytest
from hydra.utils import instantiate

from tests.test_config import composed, experiment
from treg_exp.data.ladder import PromptLadder
from treg_exp.errors import FieldError

APPLE = {"name": "red apple", "style": "noto", "category": "food & drink", "caption": "red apple, noto style"}
SAMPLES = [("apple-noto", APPLE)]


@pytest.mark.parametrize(
    ("rung", "text"),
    enumerate(["", "noto style", "food & drink", "red apple", "red apple, noto style"]),
)
def test_every_rung_says_more(rung: int, text: str) -> None:
    rule = instantiate(composed("prompt=ladder", f"prompt.rung={rung}").prompt, _convert_="all")
    assert rule.resolve(SAMPLES) == [text]


def test_texts_of_the_data_are_not_templates() -> None:
    assert PromptLadder(["{name}"], 0).resolve([("a", {"name": "{style}"})]) == ["{style}"]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(FieldError, match=r"^rungs=\{category\}: the data lacks one of the texts category for 1 of 2"):
        PromptLadder(["{category}"], 0).resolve([*SAMPLES, ("b", {"name": "b", "category": ""})])
    with pytest.raises(FieldError, match=r"^rung=5: must be a whole number from 0 to 1: '', '\{name\}'$"):
        PromptLadder(["", "{name}"], 5)
    with pytest.raises(FieldError, match=r"^rungs=a red apple: must be a list of texts"):
        PromptLadder("a red apple", 0)


def test_the_study_climbs_the_ladder() -> None:
    made = experiment("experiment=study/ladder", "data.limit=1")
    texts = {item.variant: item.texts["prompt"] for item in made.items}
    assert list(texts) == ["no_text", "style", "kind", "name", "own", "wrong"]
    assert [texts[name] for name in ("no_text", "style", "kind", "name", "own")] == [
        "", "twemoji style", "travel & places", "police car", "police car, twemoji style",
    ]  # fmt: skip
    assert texts["wrong"].endswith(", twemoji style")
    assert "police" not in texts["wrong"]
