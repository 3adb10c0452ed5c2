"""Per-image metrics. To add one: a class like those here and an entry in ``conf/metrics``."""

from treg_exp.metrics.alignment import TextAlignment
from treg_exp.metrics.base import Metric, MetricInput, Values, evaluate
from treg_exp.metrics.fidelity import PSNR, SSIM, psnr, ssim
from treg_exp.metrics.judge import JudgeAlignment
from treg_exp.metrics.perceptual import LPIPS
from treg_exp.metrics.residual import Residual, residual

__all__ = [
    "LPIPS",
    "PSNR",
    "SSIM",
    "JudgeAlignment",
    "Metric",
    "MetricInput",
    "Residual",
    "TextAlignment",
    "Values",
    "evaluate",
    "psnr",
    "residual",
    "ssim",
]
