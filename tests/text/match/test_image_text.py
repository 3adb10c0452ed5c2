from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.schedule.levels import Level
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.match.image_text import ImageTextMatch
from treg_exp.text.policy import TextPolicy

LEVEL = Level(500, 0.3**0.5, 0.7**0.5)
PROMPTS = [{"prompt": "a cat"}, {"prompt": "a green dog"}]


@pytest.fixture
def parts(tiny_prior):
    policy = TextPolicy(ConstantGuidance(1.0))
    text = policy.start(tiny_prior, PROMPTS)
    z_t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return tiny_prior, z_t, text, policy.predict(tiny_prior, z_t, LEVEL, text)


@pytest.mark.parametrize("labels", [[], ["a tomato", "a red balloon"]])
def test_the_score_rises_by_a_move_of_the_stated_length(parts, labels: list[str]) -> None:
    prior, z_t, text, at = parts
    rule = ImageTextMatch(strength=0.05, labels=labels)
    pulled = rule.pull(prior, z_t, LEVEL, text, at)
    before, after = (rule.score(prior, prior.decode(z), text) for z in (at.z_0, pulled.z_0))
    assert (after > before).all()
    rms = (pulled.z_0 - at.z_0).flatten(1).square().mean(1).sqrt()
    torch.testing.assert_close(rms, torch.full((2,), 0.05 * 0.7**0.5), rtol=1e-3, atol=0)
    assert torch.equal(pulled.eps, at.eps)


def test_each_sample_follows_its_own_gradient(parts) -> None:
    prior, z_t, text, at = parts
    together = ImageTextMatch().pull(prior, z_t, LEVEL, text, at).z_0
    policy = TextPolicy(ConstantGuidance(1.0))
    own = policy.start(prior, PROMPTS[1:])
    alone = ImageTextMatch().pull(prior, z_t[1:], LEVEL, own, policy.predict(prior, z_t[1:], LEVEL, own)).z_0
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-4)


def test_it_pulls_in_its_interval_alone(parts) -> None:
    prior, z_t, text, at = parts
    rule = ImageTextMatch(start=0.2, stop=0.5)
    assert rule.pull(prior, z_t, Level(900, 0.1**0.5, 0.9**0.5), text, at) is at
    assert rule.pull(prior, z_t, Level(100, 0.9**0.5, 0.1**0.5), text, at) is at
    share = torch.tensor([0.3, 0.9]).view(2, 1, 1, 1)
    mixed = rule.pull(prior, z_t, Level(500, share**0.5, (1 - share) ** 0.5), text, at)
    expected = rule.pull(prior, z_t, LEVEL, text, at)
    torch.testing.assert_close(mixed.z_0[0], expected.z_0[0], rtol=0, atol=1e-5)
    assert torch.equal(mixed.z_0[1], at.z_0[1])


def test_the_length_is_that_of_the_noise_share_in_every_family_of_schedules(parts) -> None:
    """Where alpha stays 1, sigma goes up to 80: it says nothing of the scale of the latent."""
    prior, z_t, text, at = parts
    rule = ImageTextMatch(strength=0.05)
    other = rule.pull(prior, z_t, Level(500, 1.0, (0.7 / 0.3) ** 0.5), text, at)
    torch.testing.assert_close(other.z_0, rule.pull(prior, z_t, LEVEL, text, at).z_0)


def test_an_encoder_is_needed(tiny_prior) -> None:
    with pytest.raises(FieldError, match=r"open_clip=null: the prior has no encoder of images and texts"):
        ImageTextMatch().check(replace(tiny_prior.info, feature_width=None))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageTextMatch(strength=-1), r"strength=-1: must be >= 0"),
        (lambda: ImageTextMatch(start=0.5, stop=0.5), r"start=0.5: must be a share"),
        (lambda: ImageTextMatch(temperature=0), r"temperature=0: must be > 0"),
        (lambda: ImageTextMatch(labels=[""]), r"labels=\[''\]: must be texts"),
    ],
)
def test_wrong_values_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
