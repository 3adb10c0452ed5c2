from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.text.guidance import ConstantGuidance
from treg_exp.text.null_text import AdaptiveNegation, FixedNullText
from treg_exp.text.policy import TextPolicy, null_of

TEXTS = [{"prompt": "a cat"}, {"prompt": "a cat"}, {"prompt": "a dog"}]
LEVEL = Level(500, 0.3**0.5, 0.7**0.5)


class Spy:
    """Notes what is embedded."""

    def __init__(self, encoder) -> None:
        self.encoder, self.seen = encoder, []

    def embed(self, prompts):
        self.seen.append(list(prompts))
        return self.encoder.embed(prompts)


def test_each_distinct_text_is_embedded_once(tiny_prior) -> None:
    spy = Spy(tiny_prior.text)
    text = TextPolicy().start(replace(tiny_prior, text=spy), TEXTS)
    assert spy.seen == [["", "a cat", "a dog"]]
    assert torch.equal(text.prompt.tokens[0], text.prompt.tokens[1])
    assert not torch.equal(text.prompt.tokens[0], text.prompt.tokens[2])


def test_texts_have_roles(tiny_prior) -> None:
    policy = TextPolicy(null_text=FixedNullText("blurry"))
    roles = {"prompt": "a dog", "source": "a cat", "null": "a crab"}
    text = policy.start(tiny_prior, [roles])
    expected = {role: tiny_prior.text.embed([told]).tokens for role, told in roles.items()}
    assert torch.equal(text.role("source").tokens, expected["source"])
    assert torch.equal(text.null.tokens, expected["null"]), "a null text of a sample's own replaces the rule's"
    assert torch.equal(text.role("target").tokens, expected["prompt"]), "a role without a text is the prompt"
    without = policy.start(tiny_prior, [{"prompt": "a dog"}])
    assert torch.equal(without.null.tokens, tiny_prior.text.embed(["blurry"]).tokens)


def test_a_prior_without_text(tiny_prior) -> None:
    silent = replace(tiny_prior, text=None, info=replace(tiny_prior.info, text_layout=None, feature_width=None))
    assert TextPolicy().start(silent, TEXTS) is None
    assert TextPolicy().update(silent, None, torch.zeros(1)) is None
    assert null_of(None) is None
    TextPolicy().check(silent.info, [{"prompt": ""}])
    with pytest.raises(FieldError, match=r"prompt='a cat': the prior has no text encoder"):
        TextPolicy().check(silent.info, TEXTS)
    with pytest.raises(FieldError, match=r"needs image features"):
        TextPolicy(null_text=AdaptiveNegation()).check(silent.info, [{"prompt": ""}])


@dataclass(frozen=True)
class Louder:
    """A text match that doubles the estimate, and a prompt rule that forgets the prompt."""

    def check(self, info) -> None:
        """Nothing is needed."""

    def pull(self, prior, z_t, level, text, at: Prediction) -> Prediction:
        return Prediction(2 * at.z_0, at.eps)

    def update(self, prior, text, x_y):
        return text.with_prompt(text.null)


def test_every_slot_has_its_say(tiny_prior) -> None:
    plain = TextPolicy(ConstantGuidance(1.0))
    text = plain.start(tiny_prior, TEXTS[:1])
    z_t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    at = plain.predict(tiny_prior, z_t, LEVEL, text)
    pulled = replace(plain, text_match=Louder()).predict(tiny_prior, z_t, LEVEL, text)
    torch.testing.assert_close(pulled.z_0, 2 * at.z_0)
    x_y = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    updated = replace(plain, null_text=AdaptiveNegation(), prompt_rule=Louder()).update(tiny_prior, text, x_y)
    assert not torch.equal(updated.null.tokens, text.null.tokens)
    assert torch.equal(updated.prompt.tokens, updated.null.tokens)


def test_a_text_match_finds_the_words(tiny_prior) -> None:
    """Its encoder is not the denoiser's: it needs the texts, not their embeddings."""
    policy = TextPolicy(null_text=FixedNullText("blurry"))
    text = policy.start(tiny_prior, [{"prompt": "a cat"}, {"prompt": "a dog", "null": "a crab"}])
    assert [words["prompt"] for words in text.words] == ["a cat", "a dog"]
    assert [words["null"] for words in text.words] == ["blurry", "a crab"]
    assert text.with_null(text.prompt).words == text.words


def test_a_null_text_needs_a_text_encoder_too(tiny_prior) -> None:
    silent = replace(tiny_prior.info, text_layout=None, feature_width=None)
    with pytest.raises(FieldError, match=r"null_text.text='blurry': the prior has no text encoder"):
        TextPolicy(null_text=FixedNullText("blurry")).check(silent, [{"prompt": ""}])
