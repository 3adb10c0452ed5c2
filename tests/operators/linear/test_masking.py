"""Masks: boxes, random pixels and none."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from treg_exp.operators.linear.masking import BoxInpainting, Identity, Masking, RandomInpainting

SHAPE = (3, 16, 32)


def test_the_box_is_placed_by_fractions() -> None:
    mask = BoxInpainting((0.25, 0.5, 0.5, 0.25), SHAPE).mask[0, 0]
    assert bool((mask[4:12, 16:24] == 0).all())
    assert int((mask == 0).sum()) == 8 * 8


@settings(max_examples=30, deadline=None)
@given(lam=st.floats(0, 100), seed=st.integers(0, 1000))
def test_prox_is_a_weighted_mean_of_measured_pixels(lam: float, seed: int) -> None:
    stream = torch.Generator().manual_seed(seed)
    mask = (torch.rand(2, 1, 4, 4, generator=stream) < 0.5).float()
    mask[:, :, 0, 0] = 1
    y, x0 = torch.randn(2, 2, 3, 4, 4, generator=stream)
    x = Masking(mask).prox(y * mask, x0, lam)
    expected = torch.where(mask.bool(), (y + lam * x0) / (1 + lam), x0)
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-6)


def test_denoising_without_noise_returns_the_measurement() -> None:
    y = torch.randn(2, *SHAPE)
    torch.testing.assert_close(Identity(SHAPE).prox(y, torch.zeros_like(y), 0.0), y)


def test_random_masks_belong_to_their_samples() -> None:
    both = RandomInpainting(0.25, SHAPE, ["a", "b"], seed=1)
    assert both.mask.flatten(1).sum(1).tolist() == [128, 128]
    assert torch.equal(RandomInpainting(0.25, SHAPE, ["b"], seed=1).mask, both[1].mask)
    assert not torch.equal(RandomInpainting(0.25, SHAPE, ["b"], seed=2).mask, both[1].mask)


def test_selection_stays_inside_the_batch() -> None:
    operator = RandomInpainting(0.25, SHAPE, ["a", "b"])
    with pytest.raises(IndexError):
        operator[2]
    with pytest.raises(TypeError):
        iter(operator)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((0.6, 0.1, 0.5, 0.5), "is partly outside the image"),
        ((-0.1, 0.1, 0.5, 0.5), "must be four fractions"),
        ((0.1, 0.1, 0.5), "must be four fractions"),
        ((0, 0, 1, 1), "covers the whole 16x32 image, nothing would be measured"),
        ((0.5, 0.5, 0.01, 0.01), "covers no pixel of a 16x32 image"),
    ],
)
def test_boxes_that_make_no_sense(box: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BoxInpainting(box, SHAPE)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.zeros(1, 1, 4, 4), r"mask=\(1, 1, 4, 4\): measures nothing"),
        (torch.full((1, 1, 4, 4), 0.5), r"mask=\(1, 1, 4, 4\): values must be 0 or 1"),
        (torch.ones(1, 3, 4, 4), r"mask=\(1, 3, 4, 4\): shape must be"),
    ],
)
def test_masks_that_make_no_sense(mask: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Masking(mask)


def test_a_fraction_must_be_one() -> None:
    with pytest.raises(ValueError, match=r"fraction=0: must be in \(0, 1\]"):
        RandomInpainting(0, SHAPE, ["a"])
