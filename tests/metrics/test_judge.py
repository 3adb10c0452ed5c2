"""The judge's columns: compared with bare names, and without them with captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from tests.metrics.test_metrics import batch
from treg_exp.data.emoji_test import EmojiTest
from treg_exp.metrics.base import Values
from treg_exp.metrics.judge import JudgeAlignment


def judged(signal: Tensor, texts: Sequence[Mapping[str, str]], **roles: object) -> Values:
    return JudgeAlignment(roles or None)(batch(signal=signal, target=None, texts=texts))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    data = EmojiTest()
    return torch.stack([data.load(data.files[sample_id]) for sample_id in data.ids])


def test_by_name_the_judge_tells_pictures_from_their_counterfactuals(pictures: Tensor) -> None:
    data = EmojiTest()
    texts = [data.captions(i) for i in range(len(data))]

    def preferred(values: Values) -> float:
        own, other = (torch.tensor(values[name]) for name in ("judge_own", "judge_counterfactual"))
        return float((own > other).double().mean())

    assert preferred(judged(pictures, texts)) == pytest.approx(0.88, abs=0.005)
    by_caption = judged(pictures, texts, judge_own="caption", judge_counterfactual="counterfactual")
    assert preferred(by_caption) == pytest.approx(0.705, abs=0.005), "why captions are not compared with"
    bare = [{role: text for role, text in of.items() if "name" not in role} for of in texts]
    assert judged(pictures, bare) == by_caption, "data without names falls back"


def test_each_column_of_each_image_falls_back_by_itself(pictures: Tensor) -> None:
    texts = [
        {"name": "tiger", "caption": "tiger, noto style", "counterfactual": "a cat"},
        {"caption": "tiger", "counterfactual": "dog", "counterfactual_name": "cat"},
        {"style": "noto"},
    ]
    values = judged(pictures[[0, 0, 0]], texts)
    same = judged(pictures[[0]], [{"caption": "tiger", "counterfactual": "cat"}])
    assert values["judge_own"] == [pytest.approx(same["judge_own"][0])] * 2 + [None]
    assert values["judge_counterfactual"][1:] == [pytest.approx(same["judge_counterfactual"][0]), None]
    assert values["judge_counterfactual"][0] != pytest.approx(same["judge_counterfactual"][0])
