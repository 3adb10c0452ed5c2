"""How well a picture shows what its prompt says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.priors.image_text.open_clip import OpenClipFiles
from treg_exp.text.image_text_score import ImageTextScore
from treg_exp.text.policy import TextPolicy

PROMPTS = [{"prompt": "a cat"}, {"prompt": "a green dog"}]


def test_without_labels_it_is_the_cosine_with_the_prompt(tiny_prior) -> None:
    text = TextPolicy().start(tiny_prior, PROMPTS)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    encoder = tiny_prior.image_text
    cosines = encoder.image_features(x) @ encoder.text_features(["a cat", "a green dog"]).T
    torch.testing.assert_close(ImageTextScore()(tiny_prior, x, text), cosines.diagonal())


def test_the_probability_is_that_of_a_classifier_over_the_labels(tiny_prior) -> None:
    prior, text = tiny_prior, TextPolicy().start(tiny_prior, PROMPTS)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    names = ["a cat", "a tomato"]  # the first is the prompt of the first sample, and counts once
    score = ImageTextScore(names, temperature=0.1)(prior, x, text)
    features = prior.image_text.image_features(x)
    for i, rivals in enumerate((["a cat", "a tomato"], ["a green dog", *names])):
        cosines = features[i] @ prior.image_text.text_features(rivals).T
        torch.testing.assert_close(score[i], (cosines / 0.1).log_softmax(0)[0], rtol=1e-4, atol=1e-5)


def test_an_encoder_is_needed(tiny_prior) -> None:
    with pytest.raises(FieldError, match=r"open_clip=null: the prior has no encoder of images and texts"):
        ImageTextScore().check(replace(tiny_prior.info, feature_width=None))
    with pytest.raises(FieldError, match=r"open_clip\.model=ViT-L-41: no such model; did you mean"):
        ImageTextScore(open_clip=OpenClipFiles("ViT-L-41", "x.safetensors")).check(tiny_prior.info)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageTextScore(temperature=0), r"temperature=0: must be > 0"),
        (lambda: ImageTextScore(labels=[""]), r"labels=\[''\]: must be texts"),
    ],
)
def test_wrong_values_are_refused(make, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        make()
