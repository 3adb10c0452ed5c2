from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from treg_exp.noise import CandidateNoise, KeyedNoise, ReplayNoise, StreamKey, stream_seed

IDS = st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=5, unique=True)


@given(ids=IDS, order=st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_a_sample_draws_the_same_numbers_in_any_batch(ids: list[str], order) -> None:
    like = torch.empty(len(ids), 3, 5)
    batch = dict(zip(ids, KeyedNoise([StreamKey(1, i) for i in ids]).normal("start", like=like), strict=True))
    shuffled = list(ids)
    order.shuffle(shuffled)
    for sample_id in shuffled:
        alone = KeyedNoise([StreamKey(1, sample_id)]).normal("start", like=like[:1])[0]
        assert torch.equal(alone, batch[sample_id])


@pytest.mark.parametrize(
    "changed",
    [
        {"key": StreamKey(1, "a")},
        {"key": StreamKey(0, "b")},
        {"key": StreamKey(0, "a", draw=1)},
        {"purpose": "renoise"},
        {"step": 1},
        {"inner": 1},
    ],
)
def test_every_part_of_the_key_matters(changed: dict) -> None:
    def draw(key=StreamKey(0, "a"), purpose="start", step=0, inner=0):  # noqa: B008
        return KeyedNoise([key]).normal(purpose, step, inner, like=torch.empty(1, 1000))

    correlation = torch.corrcoef(torch.cat([draw(), draw(**changed)]))[0, 1]
    assert abs(correlation) < 0.15


def test_the_first_try_has_the_given_streams_and_all_others_their_own() -> None:
    like = torch.empty(1, 1000)
    drawn = [
        CandidateNoise(KeyedNoise([StreamKey(0, "a", draw)]), candidate).normal("start", like=like)[0]
        for draw in (0, 1)
        for candidate in (0, 1, 2)
    ]
    assert torch.equal(drawn[0], KeyedNoise([StreamKey(0, "a")]).normal("start", like=like)[0])
    correlations = torch.corrcoef(torch.stack(drawn)) - torch.eye(6)
    assert correlations.abs().max() < 0.15


def test_streams_are_standard_normal() -> None:
    x = KeyedNoise([StreamKey(0, str(i)) for i in range(50)]).normal("start", like=torch.empty(50, 4000))
    assert abs(x.mean()) < 0.01
    assert abs(x.std() - 1) < 0.01


def test_seed_separates_key_parts() -> None:
    assert stream_seed("ab", "c") != stream_seed("a", "bc")
    assert stream_seed(1, "a") == stream_seed(1, "a")


def test_a_batch_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="2 samples was asked for a batch of 3"):
        KeyedNoise([StreamKey(0, "a"), StreamKey(0, "b")]).normal("start", like=torch.empty(3, 1))


def test_replay_returns_what_was_recorded_and_names_what_was_not() -> None:
    noise = ReplayNoise({("start", 0, 0): np.arange(4.0)})
    assert noise.normal("start", like=torch.empty(1)).tolist() == [0, 1, 2, 3]
    with pytest.raises(KeyError, match="recorded purposes"):
        noise.normal("renoise", 5, like=torch.empty(1))
