"""MS-SSIM against the paper's formula written out, and against torchmetrics where the two mean the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.test_metrics import batch, windows
from treg_exp.errors import FieldError
from treg_exp.metrics.base import evaluate
from treg_exp.metrics.fidelity import ssim
from treg_exp.metrics.multiscale import EXPONENTS, MSSSIM, ms_ssim, smallest_side


def pictures(size: int, count: int = 3) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 3, size // 8, size // 8, generator=g) * 1.6 - 0.8
    target = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    noise = torch.randn(target.shape, generator=g) * torch.tensor([0.05, 0.2, 0.5])[:count, None, None, None]
    return (target + noise).clamp(-1, 1), target


def halved(x: np.ndarray) -> np.ndarray:
    return np.asarray((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4)


def by_hand(x: np.ndarray, y: np.ndarray, scales: int) -> float:
    """Of two (H, W) pictures in [0, 1]."""
    weights = np.array(EXPONENTS[:scales]) / sum(EXPONENTS[:scales])
    value = 1.0
    for scale, weight in enumerate(weights):
        mx, my = windows(x), windows(y)
        vx, vy, cov = windows(x * x) - mx**2, windows(y * y) - my**2, windows(x * y) - mx * my
        factor = (2 * cov + 9e-4) / (vx + vy + 9e-4)
        if scale == scales - 1:
            factor = factor * (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)
        value *= max(factor.mean(), 0.0) ** weight
        if scale < scales - 1:
            x, y = halved(x), halved(y)
    return value


@pytest.mark.parametrize(("size", "scales"), [(176, 5), (64, 3), (24, 2)])
def test_formula(size: int, scales: int) -> None:
    image, target = pictures(size)
    found = ms_ssim(image, target, scales)
    assert found is not None
    a, b = (((x.double().numpy() + 1) / 2) for x in (image, target))
    expected = [np.mean([by_hand(a[i, c], b[i, c], scales) for c in range(3)]) for i in range(3)]
    assert found.tolist() == pytest.approx(expected, abs=1e-9)
    assert found[0] > found[1] > found[2]


def test_one_scale_is_ssim_and_equal_images_have_1() -> None:
    image, target = pictures(64)
    torch.testing.assert_close(ms_ssim(image, target, 1), ssim(image, target))
    assert ms_ssim(target, target, 3).tolist() == pytest.approx([1.0] * 3)


def test_torchmetrics_on_grey_pictures_with_empty_borders() -> None:
    """Colours are averaged at another place there, and borders are reflected in the last scale."""
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as theirs

    image, target = (x[:, :1].expand(-1, 3, -1, -1) for x in pictures(256))
    inner = torch.zeros(256, 256)
    inner[112:144, 112:144] = 1  # constant around it, so reflection changes nothing
    image, target = image * inner, target * inner
    own = ms_ssim(image, target)
    other = theirs((image.double() + 1) / 2, (target.double() + 1) / 2, data_range=1.0, reduction="none")
    assert own is not None
    torch.testing.assert_close(own, other, atol=2e-2, rtol=0)  # means over different numbers of constant windows


def test_size_and_batch() -> None:
    assert [smallest_side(scales) for scales in (1, 3, 5)] == [11, 44, 176]
    assert ms_ssim(*pictures(64)) is None
    metric = MSSSIM(2)
    assert metric.columns["ms_ssim"].line == "MS-SSIM 2 scales"
    assert MSSSIM().columns["ms_ssim"].label == "MS-SSIM"
    assert "below 176 px" in MSSSIM().columns["ms_ssim"].note
    inp: Any = batch(4)  # 24 x 20 pixels
    assert MSSSIM()(inp) == {"ms_ssim": [None] * 4}
    metric = MSSSIM(1)
    together = [row["ms_ssim"] for row in evaluate({"m": metric}, inp)]
    assert together == pytest.approx(
        [float(metric.compare(inp.signal[i : i + 1], inp.target[i : i + 1])) for i in range(4)], abs=1e-12
    )
    assert metric(batch(2, target=None)) == {"ms_ssim": [None, None]}
    with pytest.raises(FieldError, match=r"^scales=6: must be between 1 and 5"):
        MSSSIM(6)
