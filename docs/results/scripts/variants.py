"""How far apart variants of one task are: the first table of docs/results/operators.md."""

import torch

from treg_exp.data.emoji_test import EmojiTest
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.linear.blur import GaussianBlur
from treg_exp.operators.nonlinear.phase import PhaseRetrieval

shape, source = (3, 256, 256), EmojiTest()
x = torch.stack([source[i].target for i in range(16)])
x = x.view(4, 4, 3, 64, 64).permute(2, 0, 3, 1, 4).reshape(1, *shape)  # four rows of four


def blur(sigma, taps, boundary, truncation=0.0):
    """A Gaussian blur of images of 256 px."""
    return GaussianBlur(sigma, taps, shape, boundary, truncation)


for name, one, other in (
    ("SR x4: bicubic, mean of blocks", BicubicDownsampling(4, shape), AveragePooling(4, shape)),
    ("SR x16: bicubic, mean of blocks", BicubicDownsampling(16, shape), AveragePooling(16, shape)),
    ("blur 3 / 61: reflect, zero", blur(3, 61, "reflect"), blur(3, 61, "zero")),
    ("blur 3 / 61: reflect, circular", blur(3, 61, "reflect"), blur(3, 61, "circular")),
    ("blur 3 / 61: reflect, symmetric", blur(3, 61, "reflect"), blur(3, 61, "symmetric")),
    ("blur 3, reflect: 61 taps, 121 taps", blur(3, 61, "reflect"), blur(3, 121, "reflect")),
    ("61 taps, zero: sigma 3, sigma 5", blur(3, 61, "zero"), blur(5, 61, "zero")),
    (
        "blur 5 / 61, zero: whole, one-dimensional singular values < 0.03 dropped",
        blur(5, 61, "zero"),
        blur(5, 61, "zero", 0.03),
    ),
    ("ProjDiff's 10 / 5 zero, DAPS's 3 / 61 reflect", blur(10, 5, "zero", 0.03), blur(3, 61, "reflect")),
    (
        "blur 10 / 5, zero: whole, one-dimensional singular values < 0.03 dropped",
        blur(10, 5, "zero"),
        blur(10, 5, "zero", 0.03),
    ),
    ("magnitudes of [0, 1], of [-1, 1]", PhaseRetrieval(2, shape), PhaseRetrieval(2, shape, unit_range=False)),
):
    print(f"| {name} | {(one.A(x) - other.A(x)).square().mean().sqrt():.4f} |")
