"""Closeness to the target, per image: PSNR and SSIM on the scale [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from treg_exp.metrics.base import TargetMetric
from treg_exp.metrics.column import Column
from treg_exp.signals.ranges import check_range, to_unit

SSIM_WINDOW = 11  # pixels; Gaussian with a standard deviation of 1.5
SSIM_SIGMA = 1.5
SSIM_MARGIN = SSIM_WINDOW // 2  # pixels at each border whose windows are not wholly inside
PSNR_MSE_FLOOR = 1e-10  # 100 dB: keeps the mean finite when an image is met exactly


def unit(x: Tensor, name: str) -> Tensor:
    """[-1, 1] -> [0, 1] in float64, for a data range of 1.

    Raises:
        FieldError: values outside of [-1, 1].
    """
    return to_unit(check_range(x, name).double())


def psnr(image: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, (B,), from each image's own mean squared error.

    Args:
        image: (B, 3, H, W) in [-1, 1].
        target: (B, 3, H, W) in [-1, 1].

    Returns:
        -10 log10(MSE) on the [0, 1] scale, which is a data range of 2 on the [-1, 1] scale; at most 100.

    Raises:
        FieldError: values outside of [-1, 1].
    """
    error = unit(image, "image") - unit(target, "target")
    mse = error.square().flatten(1).mean(1)
    return -10 * mse.clamp(min=PSNR_MSE_FLOOR).log10()


def ssim(image: Tensor, target: Tensor) -> Tensor | None:
    """Structural similarity, (B,): Gaussian window of 11x11 pixels, sigma 1.5, K = (0.01, 0.03), RGB mean.

    Only windows that lie wholly inside the image count, as in the reference (Wang et al. 2004, ``ssim_index.m``) and in
    scikit-image, whose values these are; torchmetrics alone averages over reflected borders too. Float64 and the fixed
    data range keep a value from depending on the other images of the batch.

    Args:
        image: (B, 3, H, W) in [-1, 1].
        target: (B, 3, H, W) in [-1, 1].

    Returns:
        Values in [-1, 1], or None for images smaller than the window.

    Raises:
        FieldError: values outside of [-1, 1].
    """
    if min(image.shape[-2:]) < SSIM_WINDOW:
        return None
    from torchmetrics.functional.image import structural_similarity_index_measure  # seconds to import

    _, full = structural_similarity_index_measure(
        unit(image, "image"),
        unit(target, "target"),
        gaussian_kernel=True,
        sigma=SSIM_SIGMA,
        data_range=1.0,
        reduction="none",
        return_full_image=True,
    )
    inner: Tensor = full[..., SSIM_MARGIN:-SSIM_MARGIN, SSIM_MARGIN:-SSIM_MARGIN]
    return inner.flatten(1).mean(1)


class PSNR(TargetMetric):
    """See :func:`psnr`; None without a target."""

    columns: Mapping[str, Column] = {
        "psnr": Column("PSNR", "dB", 2, higher_is_better=True, below_pictures=True, uses_target=True),
    }

    def compare(self, signal: Tensor, target: Tensor) -> Tensor:
        """See ``TargetMetric``."""
        return psnr(signal, target)


class SSIM(TargetMetric):
    """See :func:`ssim`; None without a target and for images smaller than the window."""

    columns: Mapping[str, Column] = {"ssim": Column("SSIM", higher_is_better=True, uses_target=True)}
    packages = ("torchmetrics",)

    def compare(self, signal: Tensor, target: Tensor) -> Tensor | None:
        """See ``TargetMetric``."""
        return ssim(signal, target)
