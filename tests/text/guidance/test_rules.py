"""Every guidance rule of conf/guidance, and what each of them is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hydra.utils import instantiate

from tests.conftest import ROOT
from tests.test_config import composed
from treg_exp.priors.counting import counted
from treg_exp.schedule.levels import Level
from treg_exp.text.guidance.cfgpp import CFGPlusPlus
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.guidance.interval import IntervalGuidance
from treg_exp.text.guidance.projected import ProjectedGuidance
from treg_exp.text.guidance.ramp import RampGuidance
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.policy import TextPolicy

NAMES = sorted(p.stem for p in (ROOT / "conf" / "guidance").glob("*.yaml"))
LEVEL = Level(500, 0.3**0.5, 0.7**0.5)
CLEANER = Level(200, 0.8**0.5, 0.2**0.5)


@pytest.fixture
def parts(tiny_prior):
    prior, calls = counted(tiny_prior)
    text = TextPolicy(null_text=FixedNullText("blurry")).start(prior, [{"prompt": "a cat"}, {"prompt": "a dog"}])
    z_t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return prior, calls, text, z_t


def answers(parts):
    """Estimates for the null text and for the prompt."""
    prior, _, text, z_t = parts
    return prior.predict(z_t, LEVEL, text.null), prior.predict(z_t, LEVEL, text.prompt)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_both_ends_are_single_branches(parts) -> None:
    prior, calls, text, z_t = parts
    for scale, expected in ((1, text.prompt), (0, text.null)):
        before = calls.forward
        guided = ConstantGuidance(scale).predict(prior, z_t, LEVEL, text)
        assert calls.forward - before == 2  # one per sample
        torch.testing.assert_close(guided.eps, prior.predict(z_t, LEVEL, expected).eps)


def test_scale_extrapolates_from_null_to_prompt(parts) -> None:
    prior, calls, text, z_t = parts
    null, prompt = answers(parts)
    before = calls.forward
    guided = ConstantGuidance(3.5).predict(prior, z_t, LEVEL, text)
    assert calls.forward - before == 4  # two per sample
    close(guided.eps, null.eps + 3.5 * (prompt.eps - null.eps))
    close(guided.z_0, null.z_0 + 3.5 * (prompt.z_0 - null.z_0))
    assert (guided.eps - prompt.eps).abs().max() > 1e-4  # the two texts do differ


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_may_have_its_own_level(parts, name: str) -> None:
    """Each sample of a batch gets what it gets alone."""
    prior, _, text, z_t = parts
    rule = instantiate(composed(f"guidance={name}").guidance)
    alone = [LEVEL, CLEANER]
    t, alpha, sigma = (
        torch.tensor([float(getattr(level, field)) for level in alone]).view(2, 1, 1, 1)
        for field in ("t", "alpha", "sigma")
    )
    together = rule.predict(prior, z_t, Level(t, alpha, sigma), text)
    for i, level in enumerate(alone):
        own = replace(text, prompt=text.prompt[i : i + 1], null=text.null[i : i + 1])
        expected = rule.predict(prior, z_t[i : i + 1], level, own)
        close(together.z_0[i : i + 1], expected.z_0)
        close(together.eps[i : i + 1], expected.eps)


def test_an_interval_guides_inside_and_asks_the_prompt_alone_outside(parts) -> None:
    prior, calls, text, z_t = parts
    rule = IntervalGuidance(scale=3.0, low=1.0, high=2.0)  # sigma / alpha is 1.53 at LEVEL and 0.5 at CLEANER
    inside = rule.predict(prior, z_t, LEVEL, text)
    close(inside.z_0, ConstantGuidance(3.0).predict(prior, z_t, LEVEL, text).z_0)
    for outside in (CLEANER, Level(999, 0.0, 1.0), Level(900, 0.1, 0.99)):
        before = calls.forward
        at = rule.predict(prior, z_t, outside, text)
        assert calls.forward - before == 2
        close(at.eps, prior.predict(z_t, outside, text.prompt).eps)


@pytest.mark.parametrize(("power", "expected"), [(1.0, 1.9), (2.0, 1.27)])
def test_a_ramp_goes_from_early_to_late_with_the_share_of_the_signal(power: float, expected: float) -> None:
    rule = RampGuidance(early=1.0, late=4.0, power=power)
    assert rule.scale_at(Level(999, 0.0, 1.0)) == 1.0
    assert rule.scale_at(LEVEL) == pytest.approx(expected)  # the share is 0.3
    assert rule.scale_at(Level(0, 1.0, 0.0)) == 4.0


def test_cfgpp_guides_the_estimate_and_keeps_the_noise_of_the_null_text(parts) -> None:
    prior, _, text, z_t = parts
    null, prompt = answers(parts)
    at = CFGPlusPlus(0.6).predict(prior, z_t, LEVEL, text)
    close(at.z_0, null.z_0 + 0.6 * (prompt.z_0 - null.z_0))
    close(at.eps, null.eps)


def test_projected_guidance_adds_what_is_across_the_prompts_estimate(parts) -> None:
    prior, _, text, z_t = parts
    _, prompt = answers(parts)
    whole = ProjectedGuidance(3.0, parallel=1.0).predict(prior, z_t, LEVEL, text)
    plain = ConstantGuidance(3.0).predict(prior, z_t, LEVEL, text)
    close(whole.z_0, plain.z_0)
    close(whole.eps, plain.eps)  # of a latent that belongs to both estimates, the noise follows from the signal
    added = ProjectedGuidance(3.0).predict(prior, z_t, LEVEL, text).z_0 - prompt.z_0
    assert ((added * prompt.z_0).flatten(1).sum(1).abs() < 1e-3 * added.flatten(1).norm(dim=1)).all()
    short = ProjectedGuidance(3.0, parallel=1.0, limit=1e-3).predict(prior, z_t, LEVEL, text).z_0 - prompt.z_0
    torch.testing.assert_close(short.flatten(1).square().mean(1).sqrt(), torch.full((2,), 2e-3), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantGuidance(-1), r"scale=-1: must be >= 0"),
        (lambda: ConstantGuidance(float("nan")), r"scale=nan: must be >= 0"),
        (lambda: IntervalGuidance(low=3.0, high=2.0), r"low=3.0: .* low < high=2.0"),
        (lambda: RampGuidance(late=-1), r"late=-1: must be >= 0"),
        (lambda: RampGuidance(power=0), r"power=0: must be > 0"),
        (lambda: CFGPlusPlus(-0.5), r"scale=-0.5: must be >= 0"),
        (lambda: ProjectedGuidance(0.5), r"scale=0.5: must be >= 1"),
        (lambda: ProjectedGuidance(parallel=2), r"parallel=2: must be in \[0, 1\]"),
        (lambda: ProjectedGuidance(limit=0.0), r"limit=0.0: must be > 0"),
    ],
)
def test_wrong_values_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
