"""Bounded negation, negation by angle and negation against named things."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hydra.utils import instantiate

from tests.conftest import ROOT
from tests.test_config import composed
from tests.tiny import step_state
from treg_exp.errors import FieldError
from treg_exp.schedule.levels import Level
from treg_exp.text.null_text.bounded import BoundedNegation
from treg_exp.text.null_text.concepts import NegatedConcepts
from treg_exp.text.null_text.cosine import CosineNegation
from treg_exp.text.null_text.negation import AdaptiveNegation
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState

NAMES = sorted(p.stem for p in (ROOT / "conf" / "null_text").glob("*.yaml"))
LEVEL = Level(500, 0.3**0.5, 0.7**0.5)
TEXTS = [{"prompt": "a cat"}, {"prompt": "a dog"}]


@pytest.fixture
def text(tiny_prior):
    return TextPolicy().start(tiny_prior, TEXTS)


@pytest.fixture
def state() -> StepState:
    return step_state(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1)


def distances(text) -> torch.Tensor:
    """(B, L) of the tokens from where they began, relative to their norm there."""
    first = text.first_null.tokens
    return (text.null.tokens - first).norm(dim=-1) / first.norm(dim=-1)


@pytest.mark.parametrize("name", NAMES)
def test_samples_do_not_influence_each_other(tiny_prior, text, state, name: str) -> None:
    rule = instantiate(composed(f"null_text={name}").null_text, _convert_="all")
    together = rule.update(tiny_prior, text, state).null.tokens
    second = TextPolicy().start(tiny_prior, TEXTS[1:])
    alone = rule.update(tiny_prior, second, step_state(state.x_y[1:])).null.tokens
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-6)


def test_a_bound_holds_over_many_steps_and_changes_nothing_within(tiny_prior, text, state) -> None:
    rule, free = BoundedNegation(lr=1e-2, radius=0.05), AdaptiveNegation(lr=1e-2)
    bounded, moved = text, text
    for _ in range(5):
        bounded, moved = rule.update(tiny_prior, bounded, state), free.update(tiny_prior, moved, state)
    assert distances(moved).min() > 0.05
    torch.testing.assert_close(distances(bounded), torch.full((2, text.null.tokens.shape[1]), 0.05), rtol=1e-3, atol=0)
    wide = BoundedNegation(lr=1e-2, radius=100.0).update(tiny_prior, text, state)
    once = free.update(tiny_prior, text, state)
    torch.testing.assert_close(wide.null.tokens, once.null.tokens, rtol=0, atol=1e-6)


def test_a_rate_may_follow_signal_or_noise(tiny_prior, text, state) -> None:
    whole = AdaptiveNegation().update(tiny_prior, text, state).null.tokens - text.null.tokens
    for follows, share in (("nothing", 1.0), ("signal", 0.3), ("noise", 0.7)):
        rule = BoundedNegation(radius=100.0, follows=follows)
        moved = rule.update(tiny_prior, text, state).null.tokens - text.null.tokens
        torch.testing.assert_close(moved, share * whole, rtol=1e-3, atol=1e-6)
    own = Level(500, torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), torch.tensor([1.0, 0.0]).view(2, 1, 1, 1))
    rule = BoundedNegation(radius=100.0, follows="signal")
    each = rule.update(tiny_prior, text, step_state(state.x_y, own)).null.tokens - text.null.tokens
    assert each[0].abs().max() == 0
    torch.testing.assert_close(each[1], whole[1], rtol=0, atol=1e-6)


def test_the_angle_grows_by_steps_of_the_stated_length(tiny_prior, text, state) -> None:
    feature = tiny_prior.image_text.image_features(state.x_y)[:, None]
    moved = CosineNegation(step=0.02).update(tiny_prior, text, state)
    torch.testing.assert_close(distances(moved), torch.full((2, text.null.tokens.shape[1]), 0.02), rtol=1e-3, atol=0)
    cosine = [torch.cosine_similarity(tokens, feature, dim=-1) for tokens in (text.null.tokens, moved.null.tokens)]
    assert (cosine[1] < cosine[0] - 0.01).all()


def test_the_angle_is_taken_behind_the_projection(tiny_prior, text, state, monkeypatch) -> None:
    matrix = torch.randn(32, 32, generator=torch.Generator().manual_seed(3))
    monkeypatch.setattr(tiny_prior.image_text, "project", lambda tokens: tokens @ matrix)
    feature = tiny_prior.image_text.image_features(state.x_y)[:, None]
    moved = CosineNegation(step=0.01).update(tiny_prior, text, state)
    before, after = (
        torch.cosine_similarity(t @ matrix, feature, dim=-1) for t in (text.null.tokens, moved.null.tokens)
    )
    assert (after < before).all()


def test_concepts_stand_in_the_null_text_where_the_image_resembles_them(tiny_prior, text, state) -> None:
    names = ["a cat", "a tomato", "a balloon"]  # the first is the prompt of the first sample
    rule = NegatedConcepts(names, temperature=1e-4)
    moved = rule.update(tiny_prior, text, state)
    similar = tiny_prior.image_text.image_features(state.x_y) @ tiny_prior.image_text.text_features(names).T
    similar[0, 0] = -torch.inf
    nearest = [names[k] for k in similar.argmax(1)]
    torch.testing.assert_close(moved.null.tokens, tiny_prior.text.embed(nearest).tokens, rtol=0, atol=1e-4)
    half = NegatedConcepts(names, temperature=1e-4, strength=0.5).update(tiny_prior, moved, state)
    expected = (text.null.tokens + moved.null.tokens) / 2  # from where the run began, not from the last step
    torch.testing.assert_close(half.null.tokens, expected, rtol=0, atol=1e-4)


def test_nothing_is_negated_where_the_prompt_is_the_only_concept(tiny_prior, text, state) -> None:
    moved = NegatedConcepts(["a cat"]).update(tiny_prior, text, state)
    assert torch.equal(moved.null.tokens[0], text.null.tokens[0])
    assert not torch.equal(moved.null.tokens[1], text.null.tokens[1])


def test_concepts_need_image_features(tiny_prior) -> None:
    with pytest.raises(FieldError, match="NegatedConcepts: needs image features"):
        NegatedConcepts(["a cat"]).check(replace(tiny_prior.info, feature_width=None))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BoundedNegation(radius=0), r"radius=0: must be > 0"),
        (lambda: BoundedNegation(follows="time"), r"follows=time: allowed are nothing, signal, noise"),
        (lambda: BoundedNegation(lr=-1), r"lr=-1: must be >= 0"),
        (lambda: CosineNegation(step=-1), r"step=-1: must be >= 0"),
        (lambda: NegatedConcepts([]), r"concepts=\[\]: must be a list of texts"),
        (lambda: NegatedConcepts(["a"], strength=2), r"strength=2: must be in \[0, 1\]"),
        (lambda: NegatedConcepts(["a"], temperature=0), r"temperature=0: must be > 0"),
    ],
)
def test_wrong_values_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
