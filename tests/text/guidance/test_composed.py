"""Guidance by several texts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.priors.counting import counted
from treg_exp.schedule.levels import Level
from treg_exp.text.condition import TextCondition
from treg_exp.text.guidance.composed import ComposedGuidance
from treg_exp.text.guidance.constant import ConstantGuidance
from treg_exp.text.policy import TextPolicy

LEVEL = Level(500, 0.3**0.5, 0.7**0.5)
TEXTS = [
    {"prompt": "a cat", "same": "a cat", "also": "in the snow", "not": "a tomato"},
    {"prompt": "a dog", "same": "a dog", "also": "at night", "not": "a red ball"},
]


@pytest.fixture
def parts(tiny_prior):
    prior, calls = counted(tiny_prior)
    text = TextPolicy().start(prior, TEXTS)
    return prior, calls, text, torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def close(a, b) -> None:
    for name in ("z_0", "eps"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("weights", [None, {}, {"also": 0.0}])
@pytest.mark.parametrize(("scale", "evaluations"), [(0.0, 2), (1.0, 2), (2.5, 4)])
def test_without_further_texts_it_is_constant_guidance(parts, weights, scale: float, evaluations: int) -> None:
    prior, calls, text, z_t = parts
    expected = ConstantGuidance(scale).predict(prior, z_t, LEVEL, text)
    before = calls.forward
    close(ComposedGuidance(scale, weights).predict(prior, z_t, LEVEL, text), expected)
    assert calls.forward - before == evaluations  # of two samples


@pytest.mark.parametrize("weight", [0.5, -0.5, -1.0])
def test_a_weight_on_the_prompt_itself_is_a_scale(parts, weight: float) -> None:
    prior, _, text, z_t = parts
    twice = ComposedGuidance(2.0, {"same": weight}).predict(prior, z_t, LEVEL, text)
    close(twice, ConstantGuidance(2.0 * (1 + weight)).predict(prior, z_t, LEVEL, text))


def test_every_text_adds_what_it_changes_against_the_null_text(parts) -> None:
    prior, calls, text, z_t = parts
    weights = {"also": 0.5, "not": -0.7}
    alone = {role: prior.predict(z_t, LEVEL, text.role(role)).eps for role in ("null", "prompt", "also", "not")}
    before = calls.forward
    guided = ComposedGuidance(1.5, weights).predict(prior, z_t, LEVEL, text)
    assert calls.forward - before == 2 * 4  # all texts and the null text, of two samples
    changes = {role: eps - alone["null"] for role, eps in alone.items()}
    expected = alone["null"] + 1.5 * (changes["prompt"] + 0.5 * changes["also"] - 0.7 * changes["not"])
    torch.testing.assert_close(guided.eps, expected, rtol=1e-4, atol=1e-4)
    assert (changes["not"].abs().amax((1, 2, 3)) > 1e-4).all()
    other_way = ComposedGuidance(1.5, dict(reversed(weights.items()))).predict(prior, z_t, LEVEL, text)
    assert torch.equal(other_way.eps, guided.eps)  # whatever the order in which they were written


def test_samples_stay_apart_each_at_its_own_level(parts) -> None:
    prior, _, text, z_t = parts
    rule = ComposedGuidance(2.0, {"also": 0.5, "not": -0.5})
    share = torch.tensor([0.3, 0.8]).view(2, 1, 1, 1)
    t = torch.tensor([500.0, 200.0]).view(2, 1, 1, 1)
    together = rule.predict(prior, z_t, Level(t, share**0.5, (1 - share) ** 0.5), text)
    for i, (t_i, share_i) in enumerate([(500.0, 0.3), (200.0, 0.8)]):
        own: TextCondition = replace(
            text,
            prompt=text.prompt[i : i + 1],
            null=text.null[i : i + 1],
            others={role: told[i : i + 1] for role, told in text.others.items()},
        )
        alone = rule.predict(prior, z_t[i : i + 1], Level(t_i, share_i**0.5, (1 - share_i) ** 0.5), own)
        torch.testing.assert_close(together.z_0[i : i + 1], alone.z_0, rtol=1e-4, atol=1e-4)


def test_a_text_that_is_missing_is_named_at_the_start(tiny_prior) -> None:
    policy = TextPolicy(ComposedGuidance(2.0, {"also": 0.5, "beside": 1.0}))
    assert policy.roles == {"also", "beside"}
    with pytest.raises(
        FieldError, match=r"^guidance\.weights=.*: no text has the role beside; add one: '\+prompt@texts"
    ):
        policy.check(tiny_prior.info, TEXTS)
    policy.check(tiny_prior.info)  # where no texts are known yet


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ComposedGuidance(-1.0), r"scale=-1.0: must be >= 0"),
        (lambda: ComposedGuidance(weights={"prompt": 1.0}), r"weights\.prompt=1.0: scale says"),
        (lambda: ComposedGuidance(weights={"null": 1.0}), r"weights\.null=1.0: scale says"),
        (lambda: ComposedGuidance(weights={"also": float("nan")}), r"weights\.also=nan: must be a finite number"),
        (lambda: ComposedGuidance(weights={"also": True}), r"weights\.also=true: must be a finite number"),
    ],
)
def test_wrong_values_are_refused(make, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        make()
