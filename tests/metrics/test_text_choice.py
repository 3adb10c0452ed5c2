"""The judge's choice among the texts of an image, on drawings that it knows."""

from __future__ import annotations

import pytest
import torch

from treg_exp.data.gallery import Gallery
from treg_exp.errors import FieldError
from treg_exp.metrics.base import MetricInput
from treg_exp.metrics.text_choice import TextChoice

ROLES = {"own": "caption", "other_1": "other_1", "other_2": "other_2"}
GALLERY = Gallery()


def judged(variant: str, count: int = 1, texts: dict[str, str] | None = None) -> dict[str, list[float | None]]:
    sample = GALLERY[0]
    assert sample.target is not None
    signal = sample.target.expand(count, -1, -1, -1)
    given = [dict(sample.captions) if texts is None else texts] * count
    inp = MetricInput(signal, None, problem=None, prior=None, texts=given, variant=variant)  # type: ignore[arg-type]
    return TextChoice(ROLES)(inp)


def test_the_picture_itself_shows_its_own_text() -> None:
    own, other = judged("own", count=2), judged("other_1")
    assert own["judge_match"] == [1.0, 1.0]
    assert other["judge_match"] == [0.0]
    scores = {name: own[f"judge_of_{name}"][0] for name in ROLES}
    best = max(scores["other_1"], scores["other_2"])  # type: ignore[type-var]
    assert own["judge_margin"][0] == pytest.approx(scores["own"] - best)  # type: ignore[operator]
    assert other["judge_margin"][0] == pytest.approx(scores["other_1"] - scores["own"])  # type: ignore[operator]


def test_a_choice_does_not_depend_on_the_batch() -> None:
    assert judged("own", count=3)["judge_of_own"][2] == pytest.approx(judged("own")["judge_of_own"][0], abs=1e-6)


def test_without_a_text_there_are_scores_only() -> None:
    found = judged("no_text")
    assert found["judge_match"] == found["judge_margin"] == [None]
    assert found["judge_of_other_2"][0] is not None


def test_there_is_no_choice_among_one() -> None:
    assert set(map(tuple, judged("own", texts={"caption": "red heart"}).values())) == {(None,)}
    with pytest.raises(FieldError, match="at least two"):
        TextChoice({"own": "caption"})


def test_the_pictures_of_the_gallery_are_recognised_among_their_texts() -> None:
    """All but the sun, which this judge takes for an orange heart (the README of the gallery says so)."""
    wrong = []
    for index in range(len(GALLERY)):
        sample = GALLERY[index]
        assert sample.target is not None
        assert sample.captions.keys() == {"task", *ROLES.values()}
        inp = MetricInput(
            torch.stack([sample.target]), None, problem=None, prior=None, texts=[sample.captions], variant="own"
        )  # type: ignore[arg-type]
        if TextChoice(ROLES)(inp)["judge_match"] != [1.0]:
            wrong.append(sample.sample_id)
    assert set(wrong) <= {"sun-fluent"}
