"""The judge: pieces of text, towers, loading; what it scores does not depend on the batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from treg_exp.errors import FileError
from treg_exp.metrics.networks.judge import Judge, load_judge, split_text


@pytest.fixture(scope="module")
def judge() -> Judge:
    torch.manual_seed(0)
    return Judge().eval()


def test_text_is_words_pairs_and_triples() -> None:
    assert split_text("Red  apple!") == [
        *("red", "apple", "red apple"),
        *("#<re", "#red", "#ed>", "#<ap", "#app", "#ppl", "#ple", "#le>"),
    ]
    assert split_text("the the") == ["the", "the the", "#<th", "#the", "#he>"]
    assert split_text("") == split_text("!?") == [""]


def test_features_are_unit_vectors_of_one_width(judge: Judge) -> None:
    image = judge.image_features(torch.rand(3, 3, 64, 64) * 2 - 1)
    text = judge.text_features(["red apple", "", "a"])
    assert image.shape == text.shape == (3, judge.width)
    torch.testing.assert_close(torch.cat([image, text]).norm(dim=1), torch.ones(6), atol=1e-5, rtol=0)


def test_neighbours_in_the_batch_change_nothing(judge: Judge) -> None:
    images = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    texts = ["tiger", "a much longer text about a red apple on a table", "", "dog face, noto style", "x"]
    together = torch.cat([judge.image_features(images), judge.text_features(texts)])
    images_alone = [judge.image_features(image[None]) for image in images]
    texts_alone = [judge.text_features([text]) for text in texts]
    torch.testing.assert_close(together, torch.cat([*images_alone, *texts_alone]), atol=1e-5, rtol=0)


def test_images_of_other_sizes_are_brought_to_size(judge: Judge) -> None:
    large = torch.rand(1, 3, 160, 128, generator=torch.Generator().manual_seed(2)) * 2 - 1
    small = torch.nn.functional.interpolate(large, (64, 64), mode="bicubic", antialias=True)
    torch.testing.assert_close(judge.image_features(large), judge.image_features(small))


def test_saved_and_loaded_it_says_the_same(judge: Judge, tmp_path: Path) -> None:
    judge.save(tmp_path)
    again = load_judge(tmp_path)
    assert again.config == judge.config
    assert not any(parameter.requires_grad for parameter in again.parameters())
    text = ["red apple", "dog"]
    torch.testing.assert_close(again.text_features(text), judge.text_features(text), atol=2e-3, rtol=0)


def test_a_missing_judge_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no judge in .*config\.json and model\.safetensors missing"):
        load_judge(tmp_path)
