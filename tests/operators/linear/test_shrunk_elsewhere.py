"""How far pictures that Pillow and torch shrank are from what the downsampling operators assume (docs/data.md)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from treg_exp.data.emoji_test import EmojiTest
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.operators.linear.bicubic import BicubicDownsampling, BicubicResizing
from treg_exp.operators.linear.blur import GaussianBlur
from treg_exp.operators.linear.composition import Composition

SHAPE = (3, 64, 64)


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    data = EmojiTest()
    return torch.stack([data.load(data.files[sample_id]) for sample_id in data.ids[:100]])


def by_torch(x: Tensor, factor: int, antialias: bool = True) -> Tensor:
    return F.interpolate(x, scale_factor=1 / factor, mode="bicubic", antialias=antialias)


def by_pillow(x: Tensor, factor: int, how: Image.Resampling) -> Tensor:
    side = x.shape[-1] // factor
    pixels = ((x + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    small = [np.asarray(Image.fromarray(picture).resize((side, side), how)) for picture in pixels]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2) / 127.5 - 1


def errors(shrunk: Tensor, operator: Operator, x: Tensor) -> tuple[float, float]:
    """RMS in [-1, 1] units at the outermost pixels, and beyond the two outermost rows and columns."""
    error = (shrunk - operator.A(x)).square()
    ring = torch.ones(error.shape[-2:], dtype=torch.bool)
    ring[1:-1, 1:-1] = False
    inner = error[..., 2:-2, 2:-2]
    return float(error[..., ring].mean().sqrt()), float(inner.mean().sqrt()) if inner.numel() else 0.0


@pytest.mark.parametrize(("factor", "edge"), [(2, 0.0103), (4, 0.0258), (8, 0.0444), (16, 0.0577)])
def test_borders_differ_where_others_cut_the_kernel(pictures: Tensor, factor: int, edge: float) -> None:
    mirrored, cut = BicubicDownsampling(factor, SHAPE), BicubicResizing(factor, SHAPE)
    border, inside = errors(by_torch(pictures, factor), mirrored, pictures)
    assert border == pytest.approx(edge, rel=0.02)
    assert inside < 1e-6
    assert errors(by_pillow(pictures, factor, Image.Resampling.BICUBIC), mirrored, pictures)[0] > border
    torch.testing.assert_close(cut.A(pictures), by_torch(pictures, factor), rtol=0, atol=2e-6)
    clipped = cut.A(pictures).clamp(-1, 1)
    assert float((clipped - by_pillow(pictures, factor, Image.Resampling.BICUBIC)).square().mean().sqrt()) < 0.005


def test_means_of_blocks_are_those_of_pillow_and_not_bicubic(pictures: Tensor) -> None:
    mean, bicubic = AveragePooling(8, SHAPE), BicubicDownsampling(8, SHAPE)
    assert max(errors(by_pillow(pictures, 8, Image.Resampling.BOX), mean, pictures)) < 0.003
    for other, expected in ((Image.Resampling.BICUBIC, (0.039, 0.043)), (Image.Resampling.LANCZOS, (0.043, 0.060))):
        assert errors(by_pillow(pictures, 8, other), mean, pictures) == pytest.approx(expected, abs=0.002)
    lanczos = errors(by_pillow(pictures, 8, Image.Resampling.LANCZOS), bicubic, pictures)
    assert lanczos == pytest.approx((0.051, 0.034), abs=0.005)
    assert min(errors(by_torch(pictures, 8, antialias=False), bicubic, pictures)) > 0.15


def test_operators_say_what_they_assume() -> None:
    assert "task=sr_resized" in BicubicDownsampling(4, SHAPE).assumption
    assert GaussianBlur(1.0, 7, SHAPE, "reflect").assumption == ""
    chain = Composition(
        lambda signal_shape: GaussianBlur(1.0, 7, signal_shape, "reflect"),
        lambda signal_shape: AveragePooling(4, signal_shape),
        SHAPE,
        ["a"],
    )
    assert chain.assumption == AveragePooling(4, SHAPE).assumption
