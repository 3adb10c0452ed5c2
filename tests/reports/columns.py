"""The columns of a run with the usual metrics of images, for reports that are tested without one."""

from __future__ import annotations

from treg_exp.engine.costs import cost_columns
from treg_exp.metrics.alignment import TextAlignment
from treg_exp.metrics.base import columns_of
from treg_exp.metrics.column import Columns
from treg_exp.metrics.fidelity import PSNR, SSIM
from treg_exp.metrics.judge import LABELS
from treg_exp.metrics.perceptual import LPIPS
from treg_exp.metrics.residual import Residual


class Judged(TextAlignment):
    """The columns of the judge without its network."""

    labels = LABELS
    optimised = False


METRICS = {
    "psnr": PSNR(),
    "ssim": SSIM(),
    "lpips": LPIPS(),
    "residual": Residual(),
    "text_alignment": TextAlignment(),
    "judge": Judged({"judge_own": "caption", "judge_counterfactual": "counterfactual"}),
}
COLUMNS = Columns({**columns_of(METRICS), **cost_columns("image")})
