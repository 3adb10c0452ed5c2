from __future__ import annotations

import pytest
import torch

from treg_exp.priors.base import Counted
from treg_exp.schedule import Point
from treg_exp.text.guidance import ConstantGuidance
from treg_exp.text.null_text import FixedNullText
from treg_exp.text.policy import TextPolicy

POINT = Point(500, 0.3)


@pytest.fixture
def parts(tiny_prior):
    prior = Counted(tiny_prior)
    text = TextPolicy(null_text=FixedNullText("blurry")).start(prior, ["a cat", "a dog"])
    z_t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return prior, text, z_t


def test_both_ends_are_single_branches(parts) -> None:
    prior, text, z_t = parts
    for scale, expected in ((1, text.prompt), (0, text.null)):
        before = prior.evaluations
        guided = ConstantGuidance(scale).predict(prior, z_t, POINT, text)
        assert prior.evaluations - before == 2  # one per sample
        torch.testing.assert_close(guided.eps, prior.predict(z_t, POINT, expected))


def test_scale_extrapolates_from_null_to_prompt(parts) -> None:
    prior, text, z_t = parts
    null, prompt = (prior.predict(z_t, POINT, t) for t in (text.null, text.prompt))
    before = prior.evaluations
    guided = ConstantGuidance(3.5).predict(prior, z_t, POINT, text)
    assert prior.evaluations - before == 4  # two per sample
    torch.testing.assert_close(guided.eps, null + 3.5 * (prompt - null), rtol=1e-4, atol=1e-5)
    assert (guided.eps - prompt).abs().max() > 1e-4  # the two texts do differ


def test_negative_scale_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scale=-1: must be >= 0"):
        ConstantGuidance(-1)


def test_each_distinct_text_is_embedded_once(tiny_prior) -> None:
    seen: list[list[str]] = []

    class Spy(Counted):
        def embed(self, prompts):
            seen.append(list(prompts))
            return super().embed(prompts)

    text = TextPolicy().start(Spy(tiny_prior), ["a cat", "a cat", "a dog"])
    assert sorted(seen[0]) == ["", "a cat", "a dog"]
    assert len(seen) == 1
    assert torch.equal(text.prompt[0], text.prompt[1])
    assert not torch.equal(text.prompt[0], text.prompt[2])
