"""MS-SSIM (Wang, Simoncelli and Bovik 2003, "Multi-scale structural similarity for image quality assessment").

torchmetrics' function is not used: its last scale takes reflected borders in, its other scales leave them out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.metrics.base import TargetMetric
from treg_exp.metrics.column import Column
from treg_exp.metrics.fidelity import SSIM_SIGMA, SSIM_WINDOW, unit

#: Exponents of the five scales, from the finest on, as the paper measured them. Of fewer scales the first ones
#: are taken and divided by their sum, as is usual for small images (`power_factors` of TensorFlow's function).
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
C1, C2 = 0.01**2, 0.03**2  # for a data range of 1


def smallest_side(scales: int) -> int:
    """Pixels of the shorter side of an image that has so many scales: the window has to fit into the coarsest."""
    return int(SSIM_WINDOW * 2 ** (scales - 1))


def ms_ssim(image: Tensor, target: Tensor, scales: int = len(EXPONENTS)) -> Tensor | None:
    """Multi-scale structural similarity, (B,), of each of R, G, B and then averaged.

    Window and constants are those of SSIM, of windows that lie wholly inside. Contrast and structure of all scales and
    the luminance of the coarsest are multiplied; a negative factor counts as 0. Scales are halved by 2 x 2 means.

    Args:
        image: (B, 3, H, W) in [-1, 1].
        target: (B, 3, H, W) in [-1, 1].
        scales: 1 to 5.

    Returns:
        Values in [0, 1], or None for images that are too small for so many scales.

    Raises:
        FieldError: values outside of [-1, 1].
    """
    x, y = unit(image, "image"), unit(target, "target")
    if min(x.shape[-2:]) < smallest_side(scales):
        return None
    exponents = x.new_tensor(EXPONENTS[:scales])
    exponents = exponents / exponents.sum()
    product = x.new_ones(x.shape[:2])
    for scale, exponent in enumerate(exponents):
        structure, whole = _similarity(x, y)
        last = scale == scales - 1
        product = product * (whole if last else structure).clamp(min=0) ** exponent
        if not last:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return product.mean(dim=1)


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Means (B, C) of contrast times structure, and of that times luminance."""
    mx, my = _blurred(x), _blurred(y)
    vx, vy, covariance = _blurred(x * x) - mx * mx, _blurred(y * y) - my * my, _blurred(x * y) - mx * my
    structure = (2 * covariance + C2) / (vx + vy + C2)
    luminance = (2 * mx * my + C1) / (mx * mx + my * my + C1)
    return structure.mean(dim=(2, 3)), (luminance * structure).mean(dim=(2, 3))


def _blurred(x: Tensor) -> Tensor:
    """Gaussian means of whole windows, (B, C, H - 10, W - 10)."""
    offsets = torch.arange(SSIM_WINDOW, dtype=x.dtype, device=x.device) - SSIM_WINDOW // 2
    taps = torch.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    taps = taps / taps.sum()
    planes = x.flatten(0, 1)[:, None]
    planes = F.conv2d(F.conv2d(planes, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))
    return planes.view(*x.shape[:2], *planes.shape[-2:])


class MSSSIM(TargetMetric):
    """See :func:`ms_ssim`; None without a target and for images that are too small.

    Args:
        scales: 5 as published, for images of at least 176 pixels a side. 64 pixels have room for 3;
            the heading says so.
    """

    def __init__(self, scales: int = len(EXPONENTS)) -> None:
        if not 1 <= scales <= len(EXPONENTS):
            raise FieldError("scales", scales, f"must be between 1 and {len(EXPONENTS)}")
        self.scales = scales
        usual = scales == len(EXPONENTS)
        self.columns = {
            "ms_ssim": Column(
                "MS-SSIM" if usual else f"MS-SSIM\n{scales} scales",
                higher_is_better=True,
                uses_target=True,
                note=f"MS-SSIM: of {scales} scales; empty for images below {smallest_side(scales)} px.",
            )
        }

    def compare(self, signal: Tensor, target: Tensor) -> Tensor | None:
        """See ``TargetMetric``."""
        return ms_ssim(signal, target, self.scales)
