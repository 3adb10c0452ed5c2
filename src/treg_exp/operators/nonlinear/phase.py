"""Fourier phase retrieval: the magnitudes of a spectrum, without its phases."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.errors import FieldError
from treg_exp.numerics.cg import half_square
from treg_exp.numerics.channels import by_channel
from treg_exp.operators.base import Operator
from treg_exp.operators.checks import check_image_shape


class PhaseRetrieval(Operator):
    """y = |F P x| per channel: P pads with zeros, F is the orthonormal 2-D transform, zero frequency in the middle.

    Shifts inside the padding, the image turned by 180 degrees and, with ``unit_range`` off, its negative give the
    same y: a solver cannot tell them apart.

    Attributes:
        oversampling: each side is padded by oversampling / 8 of its length at both ends, as in DPS: 2 turns 256
            pixels into 384. (In the sense of frequencies per pixel this is 1.5 along each axis; 4 gives 2.)
        unit_range: magnitudes of (x + 1) / 2 in [0, 1] rather than of x.
    """

    pictured = False  # a spectrum

    def __init__(self, oversampling: float, signal_shape: Sequence[int], unit_range: bool = True) -> None:
        """Takes the fields and the image shape (3, H, W)."""
        if not 0 <= oversampling <= 64:  # 17 times the size of the image
            raise FieldError("oversampling", oversampling, "must be in [0, 64]")
        _, height, width = check_image_shape(signal_shape)
        self.oversampling, self.unit_range = float(oversampling), bool(unit_range)
        self._pad = (int(oversampling / 8 * height), int(oversampling / 8 * width))
        super().__init__(signal_shape, (3, height + 2 * self._pad[0], width + 2 * self._pad[1]))

    @property
    def norm_sq(self) -> float:
        """1, or 1/4 with ``unit_range``: the largest squared slope, F P being orthonormal."""
        return 0.25 if self.unit_range else 1.0

    def _A(self, x: Tensor) -> Tensor:
        return by_channel(self._magnitude, x)

    def _magnitude(self, x: Tensor) -> Tensor:
        """Of one channel (B, 1, H, W)."""
        magnitude: Tensor = torch.fft.fftshift(self._spectrum(x).abs(), dim=(-2, -1))
        return magnitude

    def _spectrum(self, x: Tensor) -> Tensor:
        """F P of one channel, zero frequency first."""
        vertical, horizontal = self._pad
        padded = F.pad(x, (horizontal, horizontal, vertical, vertical), value=-1 if self.unit_range else 0)
        spectrum: Tensor = torch.fft.fft2(padded.add_(1).div_(2) if self.unit_range else padded, norm="ortho")
        return spectrum

    def _data_term(self, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Operator``: the residual takes the phases of the estimate and goes back, one channel at a time."""
        (vertical, horizontal), (_, height, width) = self._pad, self.signal_shape
        values = []

        def gradient(y: Tensor, x: Tensor) -> Tensor:
            spectrum = self._spectrum(x)
            excess = spectrum.abs().sub_(torch.fft.ifftshift(y, dim=(-2, -1)))
            values.append(half_square(excess))
            padded = torch.fft.ifft2(spectrum.sgn_().mul_(excess), norm="ortho").real
            inside: Tensor = padded[..., vertical : vertical + height, horizontal : horizontal + width]
            return inside / 2 if self.unit_range else inside

        together = by_channel(gradient, y, x)
        return torch.stack(values).sum(0), together
