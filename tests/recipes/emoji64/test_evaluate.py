"""Ranks, nearest pictures and distances between sets on cases whose answer is known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from treg_exp.noise import generator
from treg_exp.recipes.emoji64.captions import STYLES, styled_caption
from treg_exp.recipes.emoji64.captiontable import CaptionTable
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.distributions import distances, frechet
from treg_exp.recipes.emoji64.nearest import nearest_training
from treg_exp.recipes.emoji64.retrieval import name_hits, name_ranks


def test_ranks_count_what_is_at_least_as_good() -> None:
    text = torch.eye(6)
    image = torch.tensor([[0.9, 0.1, 0.0, 0.0, 0.0, 0.0], [0.6, 0.5, 0.4, 0.3, 0.2, 0.1], [1.0] * 6])
    labels = torch.tensor([0, 5, 0])
    assert name_ranks(image, text, labels).tolist() == [1, 6, 6]
    assert name_hits(image, text, labels)["top1"].tolist() == [1, 0, 0]
    assert name_hits(image, text, labels)["top5"].tolist() == [1, 0, 0]


def test_the_nearest_training_picture_of_a_training_picture_is_itself(corpus: Corpus) -> None:
    indices = torch.tensor(corpus.split.train[3:60:7])
    rmse, found = nearest_training(corpus.as_float(indices), corpus, chunk=50)
    assert found.tolist() == indices.tolist()
    assert rmse.max() == 0


def test_the_nearest_training_picture_is_none_that_is_held_out(corpus: Corpus) -> None:
    held_out = torch.tensor(corpus.split.held_out[:5])
    images = corpus.as_float(held_out)
    rmse, found = nearest_training(images, corpus)
    assert not set(found.tolist()) & set(corpus.split.held_out)
    by_hand = (images - corpus.as_float(found)).square().mean(dim=(1, 2, 3)).sqrt()
    torch.testing.assert_close(rmse, by_hand, atol=1e-6, rtol=0)
    others = corpus.as_float(torch.tensor(corpus.split.train))
    assert all(
        (image - others).square().mean(dim=(1, 2, 3)).sqrt().min() > own - 1e-4
        for image, own in zip(images, rmse, strict=True)
    )


def test_frechet_distance_of_two_gaussians_is_the_known_one() -> None:
    drawn = torch.randn(4000, 4, generator=generator("gaussians"))
    moved = torch.randn(4000, 4, generator=generator("others")) * 2 + 3
    # Squared distance of the means plus, per axis, the squared difference of the deviations.
    assert frechet(drawn, moved) == pytest.approx(4 * 9 + 4 * 1, rel=0.03)


def test_distances_grow_with_the_difference_and_have_bounds() -> None:
    real = F.normalize(torch.randn(200, 8, generator=generator("real")), dim=1)
    same = F.normalize(torch.randn(200, 8, generator=generator("same")), dim=1)
    other = F.normalize(torch.randn(200, 8, generator=generator("other")) + 1.0, dim=1)
    near, far = distances(real, same), distances(real, other)
    for name in ("frechet", "kernel"):
        assert near[name]["mean"] < 0.2 * far[name]["mean"]
        assert far[name]["low"] < far[name]["mean"] < far[name]["high"]
    assert near["kernel"]["low"] < 0.02


def test_distances_leave_the_global_stream_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    distances(torch.rand(20, 4, generator=generator("a")), torch.rand(20, 4, generator=generator("b")))
    assert torch.equal(torch.rand(1), expected)


def test_the_caption_table_draws_each_name_one_of_its_own_captions(corpus: Corpus) -> None:
    table = CaptionTable(corpus)
    drawn = [table.plain[i] for i in table.draw(generator("captions")).tolist()]
    assert len(drawn) == len(corpus.names)
    assert all(name in caption for name, caption in zip(corpus.names, drawn, strict=True))  # none has another name
    assert len({caption.replace(name, "") for name, caption in zip(corpus.names, drawn, strict=True)}) > 3
    labels = torch.tensor([5, 2])
    own = [[table.styled[i] for i in row] for row in table.of_name(labels).tolist()]
    assert own == [[styled_caption(corpus.names[label], style) for style in STYLES] for label in labels.tolist()]
