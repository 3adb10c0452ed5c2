from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from treg_exp.priors.counting import counted
from treg_exp.schedule.levels import Level
from treg_exp.text.guidance import ConstantGuidance
from treg_exp.text.null_text import FixedNullText
from treg_exp.text.policy import TextPolicy

LEVEL = Level(500, 0.3**0.5, 0.7**0.5)


@pytest.fixture
def parts(tiny_prior):
    prior, calls = counted(tiny_prior)
    text = TextPolicy(null_text=FixedNullText("blurry")).start(prior, [{"prompt": "a cat"}, {"prompt": "a dog"}])
    z_t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return prior, calls, text, z_t


def test_both_ends_are_single_branches(parts) -> None:
    prior, calls, text, z_t = parts
    for scale, expected in ((1, text.prompt), (0, text.null)):
        before = calls.forward
        guided = ConstantGuidance(scale).predict(prior, z_t, LEVEL, text)
        assert calls.forward - before == 2  # one per sample
        torch.testing.assert_close(guided.eps, prior.predict(z_t, LEVEL, expected).eps)


def test_scale_extrapolates_from_null_to_prompt(parts) -> None:
    prior, calls, text, z_t = parts
    null, prompt = (prior.predict(z_t, LEVEL, t) for t in (text.null, text.prompt))
    before = calls.forward
    guided = ConstantGuidance(3.5).predict(prior, z_t, LEVEL, text)
    assert calls.forward - before == 4  # two per sample
    torch.testing.assert_close(guided.eps, null.eps + 3.5 * (prompt.eps - null.eps), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(guided.z_0, null.z_0 + 3.5 * (prompt.z_0 - null.z_0), rtol=1e-4, atol=1e-5)
    assert (guided.eps - prompt.eps).abs().max() > 1e-4  # the two texts do differ


def test_negative_scale_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scale=-1: must be >= 0"):
        ConstantGuidance(-1)


@pytest.mark.parametrize("scale", [1.0, 3.5])
def test_every_sample_may_have_its_own_level(parts, scale: float) -> None:
    prior, _, text, z_t = parts
    alone = [Level(500, 0.3**0.5, 0.7**0.5), Level(200, 0.8**0.5, 0.2**0.5)]
    t, alpha, sigma = (
        torch.tensor([float(getattr(level, name)) for level in alone]).view(2, 1, 1, 1)
        for name in ("t", "alpha", "sigma")
    )
    together = ConstantGuidance(scale).predict(prior, z_t, Level(t, alpha, sigma), text)
    for i, level in enumerate(alone):
        own = replace(text, prompt=text.prompt[i : i + 1], null=text.null[i : i + 1])
        expected = ConstantGuidance(scale).predict(prior, z_t[i : i + 1], level, own)
        torch.testing.assert_close(together.z_0[i : i + 1], expected.z_0, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(together.eps[i : i + 1], expected.eps, rtol=1e-4, atol=1e-4)
