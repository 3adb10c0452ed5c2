"""Blur by a moving camera: one seeded kernel per sample.

The path is a random walk of a point with inertia, as in camera-shake models (Boracchi and Foi, IEEE Trans. Image
Process. 2012): constant speed, a direction that changes at random, and rare jerks. ``intensity`` scales both, from
a straight line to a scribble. Published codes draw from generators of their own; sizes and intensities carry over,
single kernels do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.noise import generator
from treg_exp.operators.checks import check_image_shape, check_kernel_size, check_sample_ids
from treg_exp.operators.linear.kernel_blur import KernelBlur

POINTS_PER_PIXEL = 8  # density of the path; a finer one changes no tap by more than 1 %
TURN = 0.5  # standard deviation of the change of direction over a tenth of the path at intensity 1, times pi
JERKS = 2.0  # expected number of jerks per path at intensity 1


class MotionBlur(KernelBlur):
    """Convolution with the path of a camera shake, another one for every sample.

    Attributes:
        kernel_size: taps per axis, odd, at most the image's sides; the path fills it along its longer side.
        intensity: 0 is a straight line, 1 a shaky path.
    """

    def __init__(
        self,
        kernel_size: int,
        intensity: float,
        signal_shape: Sequence[int],
        sample_ids: Sequence[str],
        seed: int = 0,
        boundary: str = "circular",
        rcond: float = 1e-4,
    ) -> None:
        """Draws the kernel of each sample from the stream (seed, sample_id)."""
        check_kernel_size(kernel_size, *check_image_shape(signal_shape)[1:])
        check_sample_ids(sample_ids)
        if not 0 <= intensity <= 1:
            raise FieldError("intensity", intensity, "must be in [0, 1]")
        streams = (generator(seed, sample_id, "motion") for sample_id in sample_ids)
        kernels = torch.stack([motion_kernel(kernel_size, intensity, stream) for stream in streams])
        super().__init__(kernels[:, None], signal_shape, boundary, rcond)
        self.kernel_size, self.intensity = int(kernel_size), float(intensity)


def motion_kernel(kernel_size: int, intensity: float, stream: torch.Generator) -> Tensor:
    """(k, k) kernel, sum 1: a random path, centred, scaled to the kernel and spread onto its taps."""
    count = POINTS_PER_PIXEL * kernel_size
    start = float(torch.rand((), generator=stream)) * 2 * math.pi
    shake = torch.randn(count, generator=stream, dtype=torch.float64) * TURN * math.pi * math.sqrt(10 / count)
    jerk = torch.rand(count, generator=stream) < JERKS * intensity / count
    thrown = (torch.rand(count, generator=stream, dtype=torch.float64) - 0.5) * 2 * math.pi
    angle = start + (intensity * shake + torch.where(jerk, thrown, 0.0)).cumsum(0)
    path = torch.stack([angle.sin(), angle.cos()], 1).cumsum(0)
    low, high = path.amin(0), path.amax(0)
    scale = (kernel_size - 1) / float((high - low).max())
    return _spread((path - (low + high) / 2) * scale + kernel_size // 2, kernel_size)


def _spread(points: Tensor, kernel_size: int) -> Tensor:
    """Bilinear histogram of (n, 2) positions in taps."""
    whole = points.floor()
    part = points - whole
    kernel = torch.zeros(kernel_size, kernel_size, dtype=torch.float64)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (part[:, 0] - (1 - dy)).abs() * (part[:, 1] - (1 - dx)).abs()
            row, column = (whole[:, i].long().add(d).clamp(0, kernel_size - 1) for i, d in ((0, dy), (1, dx)))
            kernel.index_put_((row, column), weight, accumulate=True)
    return (kernel / kernel.sum()).float()
