"""Bicubic downsampling with antialiasing, the operator of super-resolution tasks.

The Keys kernel (a = -0.5) is stretched by the factor f and sampled at 4f taps, as MATLAB's ``imresize`` does.
Output i has its centre at input position f (i + 1/2) - 1/2 and reads the inputs f i - 3f/2 ... f i + 5f/2 - 1
for even f (for odd f the positions are symmetric about an input and the two outermost taps vanish). Outside
the image the edge is mirrored with the edge pixel repeated; ``BicubicResizing`` cuts the kernel instead. The
mirrored one is the operator of DDRM and of the TReg code, and of deepinv's ``DownsamplingMatlab``; deepinv's
``Downsampling(filter="bicubic")`` decimates at another phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from treg_exp.numerics.boundary import filter_matrix
from treg_exp.numerics.singular_values import Axis
from treg_exp.operators.checks import check_factor, check_image_shape
from treg_exp.operators.linear.separable import SeparableOperator


def keys_kernel(t: Tensor, a: float = -0.5) -> Tensor:
    """The cubic convolution kernel of Keys at positions t, in units of the sample distance."""
    t = t.abs()
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return torch.where(t <= 1, near, torch.where(t < 2, far, 0.0))


def bicubic_matrix(factor: int, size: int, edge: str = "mirror") -> Tensor:
    """(size / factor, size) float64 matrix of the one-dimensional operator; every row sums to 1.

    Args:
        factor: ratio of the sizes.
        size: of the input.
        edge: outside the image, ``mirror`` reads it mirrored; ``cut`` reads nothing, and a row's other taps grow.
    """
    outputs = size // factor
    centre = factor * (torch.arange(outputs, dtype=torch.float64) + 0.5) - 0.5
    first = torch.floor(centre - 2 * factor).to(torch.int64) + 1
    taps = first[:, None] + torch.arange(4 * factor)
    weights = keys_kernel((taps - centre[:, None]) / factor)
    if edge == "cut":
        weights = weights.where((taps >= 0) & (taps < size), 0.0)
    weights = weights / weights.sum(1, keepdim=True)
    return filter_matrix(taps, weights, size, "zero" if edge == "cut" else "symmetric")


@lru_cache(maxsize=32)
def bicubic_axis(factor: int, size: int, edge: str = "mirror") -> Axis:
    """The decomposed matrix; kept, because a decomposition takes longer than many proximal steps."""
    return Axis.of(bicubic_matrix(factor, size, edge))


class BicubicDownsampling(SeparableOperator):
    """Downsamples height and width by an integer factor.

    Attributes:
        factor: ratio of the sizes, >= 1; must divide both sides of the image.
    """

    _edge: ClassVar[str] = "mirror"

    def __init__(self, factor: int, signal_shape: Sequence[int], rcond: float = 1e-4) -> None:
        """Takes the factor, the image shape (3, H, W) and the relative cut-off of the pseudo-inverse."""
        _, height, width = check_image_shape(signal_shape)
        factor = check_factor(factor, height, width)
        rows, columns = (bicubic_axis(factor, side, self._edge) for side in (height, width))
        super().__init__(rows, columns, rcond=rcond)
        self.factor = factor

    @property
    def assumption(self) -> str:
        """See ``Operator``; ``tests/operators/linear/test_shrunk_elsewhere.py`` measures the figures."""
        return (
            "bicubic downsampling mirrors the image at its edges; Pillow and torch do not. The outermost pixels of what"
            " they shrank differ by 0.01 (x2) to 0.06 (x16) in [-1, 1] units, 1 to 6 times the default noise. For "
            "such pictures there is task=sr_resized, see docs/data.md"
        )


class BicubicResizing(BicubicDownsampling):
    """The same with the kernel cut at the edges: what torch (``antialias=True``) and Pillow (``BICUBIC``) give.

    Pillow rounds and clips to 8 bits besides: 0.002 to 0.005 RMS in [-1, 1] units.

    Attributes:
        factor: ratio of the sizes, >= 1; must divide both sides of the image.
    """

    _edge = "cut"

    @property
    def assumption(self) -> str:
        """See ``Operator``."""
        return (
            "pictures are taken as shrunk by the bicubic filter of Pillow or torch (antialias=True), from a size that "
            "the factor divides; other filters differ by more than the noise, see docs/data.md"
        )
