"""Convolution with any small kernel, by Fourier transforms: motion blur, rotated Gaussians, measured kernels.

y_i = sum_j k_j x_{i - j}, with j counted from the kernel's middle tap. The image is extended by the boundary
rule, convolved, and cut back. For the circular rule A^T A is diagonal in the Fourier domain, so the proximal step
is exact and takes two transforms. The other rules use it as they are: CGLS with exact adjoints. Channels are
transformed, and solved for, one after the other: the spectra of a padded image take several times its memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.numerics.boundary import BOUNDARIES, check_boundary
from treg_exp.numerics.channels import by_channel
from treg_exp.numerics.singular_values import gains
from treg_exp.operators.checks import check_image_shape, check_kernel_size, check_rcond
from treg_exp.operators.linear.base import LinearOperator


class KernelBlur(LinearOperator):
    """Convolution with one kernel for all channels; the measurement has the size of the image.

    Attributes:
        kernel: (1, 1, k, k) shared or (B, 1, k, k) per sample, k odd, at most the image's sides.
        boundary: what lies outside the image: zero, reflect, symmetric or circular.
        rcond: circular only: for lam = 0 and ``pinv``, singular values below ``rcond`` times the largest count as
            zero.
    """

    per_sample = ("kernel", "_spectrum", "_conjugate")

    def __init__(
        self, kernel: Tensor, signal_shape: Sequence[int], boundary: str = "circular", rcond: float = 1e-4
    ) -> None:
        """Checks kernel and boundary rule against the image shape (3, H, W)."""
        shape = check_image_shape(signal_shape)
        check_boundary(boundary)
        check_rcond(rcond)
        if kernel.dim() != 4 or kernel.shape[1] != 1 or kernel.shape[2] != kernel.shape[3]:
            raise FieldError("kernel", tuple(kernel.shape), "shape must be (1 or B, 1, k, k)")
        check_kernel_size(kernel.shape[-1], *shape[1:])
        if not bool(kernel.isfinite().all()):
            raise FieldError("kernel", tuple(kernel.shape), "has entries that are not finite numbers")
        if not bool(kernel.flatten(1).any(1).all()):
            raise FieldError("kernel", tuple(kernel.shape), "is zero, nothing would be measured")
        if len(set(_sums(kernel))) > 1:
            raise FieldError("kernel", _sums(kernel), "sum of |k| differs between samples; lambda would, too")
        super().__init__(shape, shape)
        self.kernel, self.boundary, self.rcond = kernel.to(torch.float32), boundary, rcond
        self._radius = kernel.shape[-1] // 2
        pad = 0 if boundary == "circular" else self._radius
        self._size = shape[1:] if not pad else (_fast(shape[1] + 2 * pad), _fast(shape[2] + 2 * pad))
        self._rows, self._columns = (_extension(n, pad, boundary) for n in shape[1:])
        middle = kernel.new_zeros(len(kernel), 1, *self._size, dtype=torch.float64)
        middle[..., : kernel.shape[-1], : kernel.shape[-1]] = kernel
        middle = middle.roll((-self._radius, -self._radius), (-2, -1))  # the middle tap is the origin
        self._spectrum = torch.fft.rfft2(middle).to(torch.complex64)
        self._conjugate = self._spectrum.conj().resolve_conj()  # a lazy one is made anew by every product

    @property
    def norm_sq(self) -> float:
        """(sum |k|)^2, alike for all samples, so that lambda does not depend on the batch.

        With the circular rule it is ||A||^2 for kernels of one sign, and a bound of it for others; with other rules
        it is close to that: up to 1.2 of it were seen for a reflecting blur of 61 taps in an image of 64 x 96.
        """
        return _sums(self.kernel)[0] ** 2

    def _filtered(self, x: Tensor, spectrum: Tensor) -> Tensor:
        """``x``, extended by zeros to the size of the transform, and convolved in that size."""
        transformed = torch.fft.rfft2(x, s=self._size)
        del x  # an extended image is needed no more
        filtered: Tensor = torch.fft.irfft2(transformed.mul_(spectrum), s=self._size)
        return filtered

    def _A(self, x: Tensor) -> Tensor:
        if self.boundary == "circular":
            return by_channel(lambda c: self._filtered(c, self._spectrum), x)
        return by_channel(lambda c: self._inside(self._filtered(self._extended(c), self._spectrum)), x)

    def _adjoint(self, y: Tensor) -> Tensor:
        if self.boundary == "circular":
            return by_channel(lambda c: self._filtered(c, self._conjugate), y)
        r, (_, height, width) = self._radius, self.signal_shape

        def adjoint(channel: Tensor) -> Tensor:
            filtered = self._filtered(torch.nn.functional.pad(channel, (r, r, r, r)), self._conjugate)
            return self._folded(filtered[..., : height + 2 * r, : width + 2 * r])

        return by_channel(adjoint, y)

    def _prox(self, y: Tensor, x0: Tensor, lam: float | Tensor) -> Tensor:
        if self.boundary != "circular":
            prox = super()._prox
            return by_channel(lambda y, x0: prox(y, x0, lam), y, x0)
        inverse = self._inverse(lam)  # once for all channels

        def step(y: Tensor, x0: Tensor) -> Tensor:
            return x0 + self._filtered(y - self._filtered(x0, self._spectrum), inverse)

        return by_channel(step, y, x0)

    def _solve(self, residual: Tensor, lam: float | Tensor) -> Tensor:
        if self.boundary != "circular":
            return by_channel(lambda c: super(KernelBlur, self)._solve(c, lam), residual)
        inverse = self._inverse(lam)
        return by_channel(lambda c: self._filtered(c, inverse), residual)

    def _inverse(self, lam: float | Tensor) -> Tensor:
        """Circular only: the spectrum of the damped inverse, in the shape of ``_spectrum``."""
        s = self._spectrum.abs()
        phase = self._conjugate / s.clamp(min=torch.finfo(s.dtype).tiny)
        inverse: Tensor = gains(s, lam, self.rcond) * phase
        return inverse

    def _extended(self, x: Tensor) -> Tensor:
        if self.boundary == "zero":
            r = self._radius
            return torch.nn.functional.pad(x, (r, r, r, r))
        return x.index_select(-2, self._rows).index_select(-1, self._columns)

    def _inside(self, x: Tensor) -> Tensor:
        r, (_, height, width) = self._radius, self.signal_shape
        return x[..., r : r + height, r : r + width]

    def _folded(self, x: Tensor) -> Tensor:
        """Adjoint of ``_extended``: what lies outside is added to the pixels that it was copied from."""
        if self.boundary == "zero":
            return self._inside(x)
        _, height, width = self.signal_shape
        tall = x.new_zeros(*x.shape[:-2], height, x.shape[-1]).index_add(-2, self._rows, x)
        return x.new_zeros(*x.shape[:-2], height, width).index_add(-1, self._columns, tall)


def _sums(kernel: Tensor) -> list[float]:
    """Sum of |k| of each kernel, to the digits that do not depend on rounding."""
    return [round(total, 5) for total in kernel.abs().double().flatten(1).sum(1).tolist()]


def _fast(size: int) -> int:
    """The next size whose transform is fast: no prime factor above 7."""
    while math.gcd(size, 210**16) != size:  # 2, 3, 5 and 7 to the sixteenth power
        size += 1
    return size


def _extension(size: int, pad: int, boundary: str) -> Tensor:
    """Where the entries of an extended line come from, (size + 2 pad,) int64; unused for zero."""
    rule = BOUNDARIES[boundary]
    places = torch.arange(-pad, size + pad)
    return places.clamp(0, size - 1) if rule is None else rule(places, size)
