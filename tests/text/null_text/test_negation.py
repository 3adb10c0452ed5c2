from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.tiny import step_state
from treg_exp.errors import FieldError
from treg_exp.priors.embedding import Span, TextLayout
from treg_exp.priors.texts.clip import side_by_side
from treg_exp.text.null_text.fixed import FixedNullText
from treg_exp.text.null_text.negation import AdaptiveNegation
from treg_exp.text.policy import TextPolicy


@pytest.fixture
def text(tiny_prior):
    return TextPolicy().start(tiny_prior, [{"prompt": "a cat"}, {"prompt": "a dog"}])


@pytest.fixture
def x_y() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_closed_form_equals_the_optimiser(tiny_prior, text, x_y) -> None:
    """The specification measured 1.2e-6 in float32 on CLIP features."""
    closed = AdaptiveNegation(lr=1e-3).update(tiny_prior, text, step_state(x_y)).null.tokens
    stepped = AdaptiveNegation(lr=1e-3, method="adam").update(tiny_prior, text, step_state(x_y)).null.tokens
    assert (closed - text.null.tokens).abs().max() > 5e-3
    torch.testing.assert_close(closed, stepped, rtol=0, atol=5e-6)


def test_negation_lowers_its_loss_and_moves_every_token_alike(tiny_prior, text, x_y) -> None:
    moved = AdaptiveNegation(lr=1e-3).update(tiny_prior, text, step_state(x_y))
    feature = tiny_prior.image_text.image_features(x_y)[:, None]
    loss = [(feature * null).sum(-1).mean(-1) for null in (text.null.tokens, moved.null.tokens)]
    assert (loss[1] < loss[0]).all()
    shift = moved.null.tokens - text.null.tokens
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), rtol=0, atol=1e-6)
    assert torch.equal(moved.prompt.tokens, text.prompt.tokens)


@pytest.mark.parametrize("method", ["closed_form", "adam"])
def test_samples_do_not_influence_each_other(tiny_prior, text, x_y, method) -> None:
    rule = AdaptiveNegation(method=method)
    together = rule.update(tiny_prior, text, step_state(x_y)).null.tokens
    alone = rule.update(tiny_prior, type(text)(text.prompt[1:], text.null[1:]), step_state(x_y[1:])).null.tokens
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-6)


def test_fixed_null_text_stays(tiny_prior, text, x_y) -> None:
    assert FixedNullText("blurry").update(tiny_prior, text, step_state(x_y)) is text


@pytest.mark.parametrize(
    ("layout", "width", "message"),
    [
        (TextLayout((Span(32),)), None, "no image encoder"),
        (TextLayout((Span(768),)), 512, "512 and 768"),
        (side_by_side((768, 1280)), 2048, r"2048 and 768 \+ 1280"),
        (TextLayout((Span(4096, contrastive=False),)), 4096, "4096 and 4096"),
        (None, 512, "512 and none"),
    ],
)
def test_priors_that_cannot_negate(tiny_prior, layout: TextLayout | None, width: int | None, message: str) -> None:
    info = replace(tiny_prior.info, text_layout=layout, feature_width=width)
    with pytest.raises(FieldError, match=message):
        AdaptiveNegation().check(info)
    FixedNullText().check(info)


def test_only_the_span_in_the_image_space_moves(tiny_prior, text, x_y) -> None:
    """As with SDXL and SD 3: other columns, other encoders' rows and the pooled text lie in other spaces."""
    spans = (Span(20), Span(32, first_column=20, stop_row=10), Span(52, first_row=10, contrastive=False))
    tokens = torch.randn(2, 16, 52, generator=torch.Generator().manual_seed(1))
    null = replace(text.null, tokens=tokens, layout=TextLayout(spans), pooled=torch.ones(2, 5))
    moved = AdaptiveNegation(lr=1e-2).update(tiny_prior, replace(text, null=null), step_state(x_y)).null
    changed = (moved.tokens - tokens).abs() > 1e-6
    assert changed[:, :10, 20:].all()
    assert not changed[:, 10:].any()
    assert not changed[:, :, :20].any()
    assert torch.equal(moved.pooled, null.pooled)


@pytest.mark.parametrize(("field", "value"), [("lr", -1.0), ("iterations", -1), ("method", "sgd")])
def test_wrong_values_are_named(field: str, value) -> None:
    with pytest.raises(ValueError, match=f"{field}={value}"):
        AdaptiveNegation(**{field: value})
