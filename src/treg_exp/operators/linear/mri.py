"""Accelerated magnetic resonance imaging with one coil: some lines of the Fourier transform.

Every colour channel is scanned as a real image of its own, with the same lines. A real image has F(-k) = conj
F(k), so a measured line also tells its mirror line: A^T A is diagonal in the Fourier domain with weights
(mask(k) + mask(-k)) / 2, and the proximal step takes two transforms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.noise import generator
from treg_exp.numerics.channels import by_channel
from treg_exp.operators.checks import check_image_shape, check_sample_ids
from treg_exp.operators.linear.base import LinearOperator


class FourierLines(LinearOperator):
    """y = mask F x with the orthonormal 2-D transform, as (2, 3, H, W): real and imaginary parts, DC at [0, 0].

    A mask has whole columns (phase-encoding lines): all lines of the centre, and others at random, as the random
    masks of fastMRI (Zbontar et al., arXiv 1811.08839).

    Attributes:
        acceleration: columns of the image / measured columns, >= 1.
        centre: fraction of the columns about the zero frequency that are always measured (at least that one).
        mask: (B, 1, 1, W) of 1 and 0.
    """

    per_sample = ("mask",)

    def __init__(
        self,
        acceleration: float,
        centre: float,
        signal_shape: Sequence[int],
        sample_ids: Sequence[str],
        seed: int = 0,
    ) -> None:
        """Draws the lines of each sample from the stream (seed, sample_id)."""
        _, height, width = shape = check_image_shape(signal_shape)
        check_sample_ids(sample_ids)
        if not acceleration >= 1:
            raise FieldError("acceleration", acceleration, "must be >= 1")
        if not 0 <= centre <= 1:
            raise FieldError("centre", centre, "must be a fraction in [0, 1]")
        lines, middle = max(1, round(width / acceleration)), max(1, round(centre * width))
        if middle > lines:
            raise FieldError("centre", centre, f"has {middle} lines, but acceleration={acceleration} allows {lines}")
        super().__init__(shape, (2, *shape))
        self.acceleration, self.centre = float(acceleration), float(centre)
        mask = torch.zeros(len(sample_ids), 1, 1, width)
        order = torch.arange(width) - middle // 2  # the first `middle` of these surround the zero frequency
        for one, sample_id in zip(mask, sample_ids, strict=True):
            others = torch.randperm(width - middle, generator=generator(seed, sample_id, "lines")) + middle
            one[0, 0, order[:middle] % width] = 1
            one[0, 0, order[others[: lines - middle]] % width] = 1
        self.mask = mask
        k_h, k_w = (-torch.arange(n) % n == torch.arange(n) for n in (height, width))
        self._has_imaginary = (~(k_h[:, None] & k_w)).float()  # a frequency that is its own mirror image is real

    @property
    def norm_sq(self) -> float:
        """1, reached by the zero frequency."""
        return 1.0

    def measured(self) -> Tensor:
        """The lines, without the imaginary parts that are zero for every image."""
        parts = torch.stack([torch.ones_like(self._has_imaginary), self._has_imaginary])
        return (self.mask[:, None] * parts[:, None]).expand(-1, *self.measurement_shape)

    def _A(self, x: Tensor) -> Tensor:
        return by_channel(self._lines, x)

    def _lines(self, x: Tensor) -> Tensor:
        """(B, 2, 1, H, W) of one channel (B, 1, H, W)."""
        spectrum = self.mask * torch.fft.fft2(x, norm="ortho")
        return torch.stack([spectrum.real, spectrum.imag * self._has_imaginary], 1)

    def _adjoint(self, y: Tensor) -> Tensor:
        return by_channel(self._from_lines, y)

    def _from_lines(self, y: Tensor) -> Tensor:
        """(B, 1, H, W) of one channel (B, 2, 1, H, W)."""
        spectrum = torch.complex(y[:, 0], y[:, 1] * self._has_imaginary)
        x: Tensor = torch.fft.ifft2(self.mask * spectrum, norm="ortho").real
        return x

    def _prox(self, y: Tensor, x0: Tensor, lam: float | Tensor) -> Tensor:
        prox = super()._prox
        return by_channel(lambda y, x0: prox(y, x0, lam), y, x0)

    def _solve(self, residual: Tensor, lam: float | Tensor) -> Tensor:
        mirrored = self.mask[..., -torch.arange(self.mask.shape[-1]) % self.mask.shape[-1]]
        weight = (self.mask + mirrored) / 2 + lam
        weight = torch.where(weight > 0, weight, 1.0)

        def solved(y: Tensor) -> Tensor:
            spectrum = torch.fft.fft2(self._from_lines(y), norm="ortho")
            d: Tensor = torch.fft.ifft2(spectrum / weight, norm="ortho").real
            return d

        return by_channel(solved, residual)
