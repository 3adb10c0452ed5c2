"""Gaussian blur with two widths, at any angle."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.operators.checks import check_image_shape, check_kernel_size
from treg_exp.operators.linear.kernel_blur import KernelBlur


class AnisotropicGaussianBlur(KernelBlur):
    """Convolution with an elongated Gaussian, the same on all channels.

    Attributes:
        sigma: (along, across): standard deviations in pixels, > 0.
        angle: direction of the first one in degrees, counter-clockwise from the horizontal.
        kernel_size: taps per axis, odd, at most the image's sides.
    """

    def __init__(
        self,
        sigma: Sequence[float],
        angle: float,
        kernel_size: int,
        signal_shape: Sequence[int],
        boundary: str = "circular",
        rcond: float = 1e-4,
    ) -> None:
        """Takes the fields above, the image shape (3, H, W), the boundary rule and the cut-off of ``pinv``."""
        check_kernel_size(kernel_size, *check_image_shape(signal_shape)[1:])
        sigma = tuple(float(v) for v in sigma)
        if len(sigma) != 2 or not all(0 < v < float("inf") for v in sigma):
            raise FieldError("sigma", sigma, "must be two widths (along, across) > 0 pixels")
        if not math.isfinite(angle):
            raise FieldError("angle", angle, "must be a finite number of degrees")
        kernel = anisotropic_kernel(sigma[0], sigma[1], angle, kernel_size)
        super().__init__(kernel[None, None], signal_shape, boundary, rcond)
        self.sigma, self.angle, self.kernel_size = sigma, float(angle), int(kernel_size)


def anisotropic_kernel(along: float, across: float, angle: float, kernel_size: int) -> Tensor:
    """(k, k) float32 samples of a rotated Gaussian about the middle tap, sum 1."""
    position = torch.arange(kernel_size, dtype=torch.float64) - kernel_size // 2
    up, right = -position[:, None], position[None, :]
    turn = math.radians(angle)
    u, v = right * math.cos(turn) + up * math.sin(turn), up * math.cos(turn) - right * math.sin(turn)
    weights = torch.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2))
    return (weights / weights.sum()).float()
