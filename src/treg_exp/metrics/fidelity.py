"""Closeness to the target, per image: PSNR and SSIM of the clamped images on the scale [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from treg_exp.metrics.base import Metric, MetricInput, Values
from treg_exp.metrics.column import Column
from treg_exp.signals.ranges import to_unit

SSIM_WINDOW = 11  # pixels; Gaussian with a standard deviation of 1.5
SSIM_SIGMA = 1.5
SSIM_MARGIN = SSIM_WINDOW // 2  # pixels at each border whose windows are not wholly inside
PSNR_MSE_FLOOR = 1e-10  # 100 dB: keeps the mean finite when an image is met exactly


def psnr(image: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, (B,), from each image's own mean squared error.

    Args:
        image: (B, 3, H, W) in [-1, 1]; clamped.
        target: (B, 3, H, W) in [-1, 1].

    Returns:
        -10 log10(MSE) on the [0, 1] scale, which is a data range of 2 on the [-1, 1] scale; at most 100.
    """
    error = to_unit(image.double()) - to_unit(target.double())
    mse = error.square().flatten(1).mean(1)
    return -10 * mse.clamp(min=PSNR_MSE_FLOOR).log10()


def ssim(image: Tensor, target: Tensor) -> Tensor | None:
    """Structural similarity, (B,): Gaussian window of 11x11 pixels, sigma 1.5, K = (0.01, 0.03), RGB mean.

    Only windows that lie wholly inside the image count, as in the reference (Wang et al. 2004, ``ssim_index.m``) and in
    scikit-image, whose values these are; torchmetrics alone averages over reflected borders too. Float64 and the fixed
    data range keep a value from depending on the other images of the batch.

    Args:
        image: (B, 3, H, W) in [-1, 1]; clamped.
        target: (B, 3, H, W) in [-1, 1].

    Returns:
        Values in [-1, 1], or None for images smaller than the window.
    """
    if min(image.shape[-2:]) < SSIM_WINDOW:
        return None
    from torchmetrics.functional.image import structural_similarity_index_measure  # seconds to import

    _, full = structural_similarity_index_measure(
        to_unit(image.double()),
        to_unit(target.double()),
        gaussian_kernel=True,
        sigma=SSIM_SIGMA,
        data_range=1.0,
        reduction="none",
        return_full_image=True,
    )
    inner: Tensor = full[..., SSIM_MARGIN:-SSIM_MARGIN, SSIM_MARGIN:-SSIM_MARGIN]
    return inner.flatten(1).mean(1)


class PSNR(Metric):
    """See :func:`psnr`; None without a target."""

    columns: Mapping[str, Column] = {
        "psnr": Column("PSNR", "dB", 2, higher_is_better=True, below_pictures=True),
    }

    def __call__(self, inp: MetricInput) -> Values:
        """See :class:`~treg_exp.metrics.base.Metric`."""
        values = None if inp.target is None else psnr(inp.signal, inp.target)
        return {"psnr": per_sample(values, len(inp.signal))}


class SSIM(Metric):
    """See :func:`ssim`; None without a target and for images smaller than the window."""

    columns: Mapping[str, Column] = {"ssim": Column("SSIM", higher_is_better=True)}

    def __call__(self, inp: MetricInput) -> Values:
        """See :class:`~treg_exp.metrics.base.Metric`."""
        values = None if inp.target is None else ssim(inp.signal, inp.target)
        return {"ssim": per_sample(values, len(inp.signal))}


def per_sample(values: Tensor | None, count: int) -> list[float | None]:
    """(B,) -> B floats, or ``count`` times None where there are no values."""
    return [None] * count if values is None else [float(value) for value in values.cpu()]
