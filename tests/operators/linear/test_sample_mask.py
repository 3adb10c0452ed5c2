"""Hidden samples of recordings: a gap by fractions, and random places per recording."""

from __future__ import annotations

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.operators.linear.sample_mask import SampleMask

SHAPE = (2, 100)


def test_a_gap_is_placed_by_fractions() -> None:
    operator, x = SampleMask(SHAPE, ["a", "b"], gap=(0.25, 0.5)), torch.rand(2, *SHAPE) + 1
    y = operator.A(x)
    assert y.shape == x.shape
    assert int(y[..., 25:75].count_nonzero()) == 0
    assert torch.equal(y[..., :25], x[..., :25])
    assert torch.equal(y[..., 75:], x[..., 75:])


def test_random_places_belong_to_their_recordings() -> None:
    both = SampleMask(SHAPE, ["a", "b"], gap=(0.0, 0.5), fraction=0.2, seed=1)
    assert both.mask.sum(-1).flatten().tolist() == [40, 40]  # 50 outside the gap, a fifth of them hidden
    assert torch.equal(SampleMask(SHAPE, ["b"], (0.0, 0.5), 0.2, seed=1).mask, both[1].mask)
    assert not torch.equal(both[0].mask, both[1].mask)
    assert not torch.equal(SampleMask(SHAPE, ["b"], (0.0, 0.5), 0.2, seed=2).mask, both[1].mask)
    assert both.measured().shape == (2, *SHAPE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gap": (0.5, 0.6)}, r"gap=\(0.5, 0.6\): is partly outside the recording"),
        ({"gap": (0.5,)}, r"gap=\(0.5,\): must be two fractions"),
        ({"gap": (0.0, 1.0)}, r"gap=\(0.0, 1.0\): must be two fractions"),
        ({"gap": (0.0, 0.999)}, r"gap=\(0.0, 0.999\): covers every sample of 100"),
        ({"gap": (0.5, 0.001)}, r"gap=\(0.5, 0.001\): covers no sample of 100"),
        ({"fraction": 1.0}, r"fraction=1.0: must be in \[0, 1\)"),
        ({"fraction": 0.999}, r"fraction=0.999: hides all 100 samples"),
        ({}, r"fraction=0.0: hides none of 100 samples, and there is no gap"),
        ({"signal_shape": (3, 32, 32)}, r"signal_shape=\(3, 32, 32\): must be \(C, T\)"),
    ],
)
def test_mistakes_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(FieldError, match=f"^{message}"):
        SampleMask(**{"signal_shape": SHAPE, "sample_ids": ["a"], **settings})
