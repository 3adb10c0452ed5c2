"""The noise that is found on a picture is the one that was added."""

from __future__ import annotations

import pytest
import torch

from treg_exp.data.pictures import read_rgb, to_tensor
from treg_exp.recipes.emoji64.grain import grain
from treg_exp.shipped import ASSETS


def drawing() -> torch.Tensor:
    """(1, 3, 64, 64): a ramp with a square on it."""
    ramp = torch.linspace(-0.5, 0.3, 64).expand(1, 3, 64, 64).clone()
    ramp[..., 20:44, 20:44] += 0.4
    return ramp


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.3])
def test_it_is_the_deviation_of_white_noise(sigma: float) -> None:
    noise = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = grain(torch.cat([drawing(), 0.0 * drawing()]) + sigma * noise)
    torch.testing.assert_close(found, torch.full((2,), sigma), rtol=0.05, atol=0)


def test_a_drawing_has_none() -> None:
    assert grain(drawing()).item() < 1e-6


def test_drawings_of_the_test_set_have_hardly_any() -> None:
    files = sorted((ASSETS / "emoji_test" / "images").rglob("*.png"))[:20]
    pictures = torch.stack([to_tensor(read_rgb(file)) for file in files])
    assert pictures.shape == (20, 3, 64, 64)
    assert grain(pictures).mean() < 0.02
