from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch

from tests.tiny import step_state
from treg_exp.errors import FieldError
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.priors.counting import counted
from treg_exp.schedule.levels import Level, Prediction
from treg_exp.tasks.problems import InverseProblem
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.null_text.concepts import NegatedConcepts
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.null_text.negation import AdaptiveNegation
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState

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
    text = TextPolicy().start(silent, TEXTS)
    assert text.prompt.tokens.shape == (3, 0, 0)
    assert [words["prompt"] for words in text.words] == ["a cat", "a cat", "a dog"]
    assert TextPolicy().update(silent, text, step_state(torch.zeros(1))) is text
    TextPolicy(text_match=Louder()).check(silent.info, TEXTS)  # a text match reads the words
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

    def update(self, prior, text, state: StepState):
        return text.with_prompt(text.null)


def test_every_slot_has_its_say(tiny_prior) -> None:
    plain = TextPolicy(ConstantGuidance(1.0))
    text = plain.start(tiny_prior, TEXTS[:1])
    z_t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    at = plain.predict(tiny_prior, z_t, LEVEL, text)
    pulled = replace(plain, text_match=Louder()).predict(tiny_prior, z_t, LEVEL, text)
    torch.testing.assert_close(pulled.z_0, 2 * at.z_0)
    x_y = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    updated = replace(plain, null_text=AdaptiveNegation(), prompt_rule=Louder()).update(
        tiny_prior, text, step_state(x_y)
    )
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


@dataclass(frozen=True)
class Descend:
    """A prompt rule as P2L has it: its tokens go down the gradient of the misfit, through network and decoder."""

    rate: float

    def check(self, info) -> None:
        """Nothing is needed."""

    def update(self, prior, text, state: StepState):
        with torch.enable_grad():
            tokens = text.prompt.tokens.detach().requires_grad_()
            at = prior.predict(state.z_t, state.level, text.prompt.with_tokens(tokens))
            (gradient,) = torch.autograd.grad(state.misfit(prior.decode(at.z_0)).sum(), tokens)
        scale = gradient.flatten(1).norm(dim=1).view(-1, 1, 1)
        return text.with_prompt(text.prompt.with_tokens(tokens.detach() - self.rate * gradient / scale))


def test_a_prompt_rule_may_descend_on_the_measurement(tiny_prior) -> None:
    """What a step tells is enough for it; each sample follows its own gradient, which counts as one."""
    operator = BicubicDownsampling(8, (3, 64, 64))
    x, z_t = (torch.randn(2, *s, generator=torch.Generator().manual_seed(0)) for s in ((3, 64, 64), (4, 8, 8)))
    problem = InverseProblem(operator.A(x), operator, 0.01, 1e-4)
    policy = TextPolicy(prompt_rule=Descend(0.5))
    text = policy.start(tiny_prior, TEXTS[1:])
    prior, calls = counted(tiny_prior)
    moved = policy.update(prior, text, step_state(x, z_t=z_t, misfit=problem.misfit))
    assert (calls.forward, calls.backward) == (2, 2)

    def misfit(tokens) -> torch.Tensor:
        return problem.misfit(tiny_prior.decode(tiny_prior.predict(z_t, LEVEL, tokens).z_0))

    assert (misfit(moved.prompt) < misfit(text.prompt)).all()
    first = replace(problem, y=problem.y[:1])
    alone = policy.update(
        tiny_prior, policy.start(tiny_prior, TEXTS[1:2]), step_state(x[:1], z_t=z_t[:1], misfit=first.misfit)
    )
    torch.testing.assert_close(alone.prompt.tokens[0], moved.prompt.tokens[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("policy", "texts", "message"),
    [
        (TextPolicy(), {"prompt": "caf\udcff"}, r"^prompt=caf\\udcff: is no valid UTF-8"),
        (TextPolicy(), {"prompt": "", "source": "\ud800"}, r"^texts\.source=\\ud800: is no valid UTF-8"),
        (TextPolicy(null_text=FixedNullText("\udcff")), {"prompt": ""}, r"^null_text\.text=\\udcff: is no valid UTF-8"),
        (
            TextPolicy(null_text=NegatedConcepts(["a cat", "\udcff"])),
            {"prompt": ""},
            r"^null_text\.concepts=\\udcff: is no valid UTF-8",
        ),
    ],
)
def test_halves_of_characters_are_refused(tiny_prior, policy: TextPolicy, texts: dict[str, str], message: str) -> None:
    TextPolicy(null_text=FixedNullText("é")).check(tiny_prior.info, [{"prompt": "猫 🐈"}])
    with pytest.raises(FieldError, match=message):
        policy.check(tiny_prior.info, [texts])


def test_the_weight_goes_from_the_null_text_to_the_rules_and_beyond(tiny_prior) -> None:
    """With plain guidance it is the scale: null + weight scale (prompt - null)."""
    z_t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    text = TextPolicy().start(tiny_prior, TEXTS[:2])

    def at(weight: float, scale: float, **slots: object) -> torch.Tensor:
        policy = TextPolicy(ConstantGuidance(scale), weight=weight, **slots)  # type: ignore[arg-type]
        found = policy.predict(tiny_prior, z_t, LEVEL, text)
        return torch.cat([found.z_0, found.eps])

    for weight in (0.25, 0.5, 1.0, 1.5):
        torch.testing.assert_close(at(weight, 3.0), at(1.0, 3.0 * weight), rtol=1e-4, atol=1e-5)
    assert torch.equal(at(0.0, 3.0, text_match=Louder()), at(1.0, 0.0))  # the text match does not count, either
    null, pulled = at(1.0, 0.0), at(1.0, 3.0, text_match=Louder())
    torch.testing.assert_close(at(0.5, 3.0, text_match=Louder()), (null + pulled) / 2, rtol=1e-4, atol=1e-5)
    assert not TextPolicy(weight=0.0).reads_prompt
    assert TextPolicy(weight=0.1).reads_prompt
    for wrong in (-0.1, 101.0, math.nan):
        with pytest.raises(FieldError, match=r"weight="):
            TextPolicy(weight=wrong)
