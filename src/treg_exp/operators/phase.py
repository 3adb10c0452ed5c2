"""Fourier phase retrieval: the magnitudes of a spectrum, without its phases."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.operators.base import check_image_shape
from treg_exp.operators.channels import by_channel
from treg_exp.operators.nonlinear import NonlinearOperator


class PhaseRetrieval(NonlinearOperator):
    """y = |F P x| per channel: P pads with zeros, F is the orthonormal 2-D transform, zero frequency in the middle.

    Shifts inside the padding, the image turned by 180 degrees and, with ``unit_range`` off, its negative give the
    same y: a solver cannot tell them apart.

    Attributes:
        oversampling: each side is padded by oversampling / 8 of its length at both ends, as in DPS: 2 turns 256
            pixels into 384. (In the sense of frequencies per pixel this is 1.5 along each axis; 4 gives 2.)
        unit_range: magnitudes of (x + 1) / 2 in [0, 1] rather than of x.
    """

    def __init__(self, oversampling: float, image_shape: Sequence[int], unit_range: bool = True) -> None:
        """Takes the fields and the image shape (3, H, W)."""
        if not 0 <= oversampling < float("inf"):
            raise ValueError(f"oversampling={oversampling}: must be >= 0")
        _, height, width = check_image_shape(image_shape)
        self.oversampling, self.unit_range = float(oversampling), bool(unit_range)
        self._pad = (int(oversampling / 8 * height), int(oversampling / 8 * width))
        super().__init__(image_shape, (3, height + 2 * self._pad[0], width + 2 * self._pad[1]))

    @property
    def norm_sq(self) -> float:
        """1, or 1/4 with ``unit_range``: the largest squared slope, F P being orthonormal."""
        return 0.25 if self.unit_range else 1.0

    def _A(self, x: Tensor) -> Tensor:
        return by_channel(self._magnitude, x)

    def _magnitude(self, x: Tensor) -> Tensor:
        """Of one channel (B, 1, H, W)."""
        vertical, horizontal = self._pad
        u = (x + 1) / 2 if self.unit_range else x
        spectrum = torch.fft.fft2(F.pad(u, (horizontal, horizontal, vertical, vertical)), norm="ortho")
        magnitude: Tensor = torch.fft.fftshift(spectrum.abs(), dim=(-2, -1))
        return magnitude
