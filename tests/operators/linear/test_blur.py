"""Gaussian blur against a plain convolution."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from treg_exp.operators.linear.blur import GaussianBlur, gaussian_kernel

PADDING = {"zero": "constant", "reflect": "reflect", "symmetric": None, "circular": "circular"}


def convolved(x: torch.Tensor, sigma: float, size: int, boundary: str) -> torch.Tensor:
    line = gaussian_kernel(sigma, size).float()
    kernel = (line[:, None] * line[None]).expand(3, 1, size, size)
    r = size // 2
    if boundary == "symmetric":
        for axis in (-1, -2):
            n = x.shape[axis]
            x = torch.cat([x.narrow(axis, 0, r).flip(axis), x, x.narrow(axis, n - r, r).flip(axis)], axis)
    else:
        x = F.pad(x, (r, r, r, r), mode=PADDING[boundary])
    return F.conv2d(x, kernel, groups=3)


@pytest.mark.parametrize("boundary", list(PADDING))
@pytest.mark.parametrize(("sigma", "size"), [(3.0, 25), (0.7, 5), (5.0, 31)])
def test_equals_a_convolution_on_every_channel(boundary: str, sigma: float, size: int) -> None:
    x = torch.rand(2, 3, 32, 40) * 2 - 1
    y = GaussianBlur(sigma, size, (3, 32, 40), boundary).A(x)
    torch.testing.assert_close(y, convolved(x, sigma, size, boundary), rtol=0, atol=2e-6)


def test_channels_do_not_mix() -> None:
    x = torch.zeros(1, 3, 32, 32)
    x[:, 1, 16, 16] = 1
    y = GaussianBlur(2.0, 9, (3, 32, 32)).A(x)
    assert float(y[:, 1].sum()) == pytest.approx(1, abs=1e-5)
    assert float(y[:, [0, 2]].abs().max()) == 0


def test_one_tap_is_the_identity() -> None:
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(GaussianBlur(1.0, 1, (3, 8, 8)).A(x), x)


def test_truncation_belongs_to_the_operator() -> None:
    whole, cut = (GaussianBlur(5.0, 61, (3, 128, 128), truncation=t) for t in (0.0, 0.03))
    s = torch.linalg.svdvals(cut.H_h)
    assert int((s > 1e-5).sum()) < int((torch.linalg.svdvals(whole.H_h) > 1e-5).sum())
    assert float(s[s > 1e-5].min()) >= 0.03 - 1e-5
    x = torch.rand(1, 3, 128, 128)
    assert 0 < float((whole.A(x) - cut.A(x)).abs().max()) < 0.1
    assert whole.fingerprint() != cut.fingerprint()


def test_the_papers_blur_keeps_87_of_512_modes_when_truncated() -> None:
    from treg_exp.operators.linear.blur import gaussian_axis

    s = gaussian_axis(5.0, 61, 512, "zero", 0.03).s
    assert int((s > 0).sum()) == 87


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": 0.0}, "sigma=0.0: width of the blur must be > 0"),
        ({"kernel_size": 4}, "kernel_size=4: must be an odd integer >= 1"),
        ({"kernel_size": 33}, "kernel_size=33: is larger than the 32x32 image"),
        ({"boundary": "wrap"}, "boundary=wrap: must be one of zero, reflect, symmetric, circular"),
        ({"truncation": -0.1}, "truncation=-0.1: must be >= 0"),
        ({"truncation": 2.0}, "truncation=2.0: removes the whole operator"),
    ],
)
def test_mistakes_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianBlur(**{"sigma": 1.0, "kernel_size": 5, "signal_shape": (3, 32, 32), **changes})
