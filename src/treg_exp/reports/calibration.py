"""Does the standard deviation of the draws say how far they are from the target?

Where the draws are samples of the posterior, the target is one more sample of it. So with N Gaussian draws of mean m
and standard deviation s (N - 1 in the denominator), (target - m) / (s sqrt(1 + 1/N)) follows Student's t with N - 1
degrees of freedom, and (target - m)² is s² (1 + 1/N) on average: few draws make all of this uncertain, not biased.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treg_exp.metrics.column import Column
from treg_exp.reports.bootstrap import Estimate, resampled

Numbers = NDArray[np.float64]

LEVELS = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))  # nominal coverages of the curve
SHOWN = (0.5, 0.9)  # of them in the table
FEWEST = 3  # draws: with two, one degree of freedom, an interval says next to nothing
COVERAGE = "coverage_"
ERROR, VARIANCE, CORRELATION, COUNTED = "squared_error", "predicted_variance", "std_correlation", "calibrated_share"
Z_RMS, CALIBRATION_ERROR = "z_rms", "calibration_error"


def column_of(level: float) -> str:
    """Name of the coverage of intervals with this nominal coverage, as ``coverage_90``."""
    return f"{COVERAGE}{round(100 * level)}"


#: What a run keeps of it. Coverage has no direction: nominal is best.
COLUMNS: Mapping[str, Column] = {
    **{
        column_of(level): Column(
            f"in {round(100 * level)} %\ninterval",
            digits=2,
            of="draws",
            uses_target=True,
            in_table="always" if level in SHOWN else "never",
        )
        for level in LEVELS
    },
    Z_RMS: Column(
        "error\n/ std",
        digits=2,
        of="draws",
        uses_target=True,
        note="in p % interval: share of the target in intervals of the draws (Student's t); calibrated: p %.\n"
        "error / std: root of mean squared error over mean variance; calibrated: 1, above: too sure.",
    ),
    CALIBRATION_ERROR: Column("calibr.\nerror", digits=3, higher_is_better=False, of="draws", uses_target=True),
    CORRELATION: Column("corr. std\nand error", digits=2, higher_is_better=True, of="draws", uses_target=True),
    ERROR: Column("squared error", in_table="never", of="draws", uses_target=True),
    VARIANCE: Column("predicted variance", in_table="never", of="draws"),
    COUNTED: Column("share of values compared", digits=2, in_table="never", of="draws", uses_target=True),
}
PER_IMAGE = (*map(column_of, LEVELS), CORRELATION, ERROR, VARIANCE, COUNTED)


def calibration(draws: Numbers, target: Numbers, step: float = 0.0) -> dict[str, float | None]:
    """Coverage and errors of one sample, over its values.

    Values that all draws and the target share exactly (a white background) agree without saying anything about the
    deviation, and are left out; where the draws share one that the target has not, the deviation is that of rounding.

    Args:
        draws: (N, *signal_shape) in [-1, 1], N >= 3.
        target: (*signal_shape) in [-1, 1].
        step: between two values that a file can hold, 2/255 for images of 8 bits; 0 for none.

    Returns:
        The columns ``PER_IMAGE``: shares of values whose target is in the interval of each of ``LEVELS``; Pearson's
        correlation of |target - mean| and the deviation; means of (target - mean)² and of the variance of a new draw;
        and the share of values that all of this is over. None where nothing is left or nothing varies.
    """
    from scipy.stats import t as student

    count = len(draws)
    mean, variance = draws.mean(axis=0), draws.var(axis=0, ddof=1)
    error = np.abs(target - mean)
    counted = (variance > 0) | (error > step / 2)
    if not counted.any():
        return {**dict.fromkeys(PER_IMAGE), COUNTED: 0.0}
    error, deviation = error[counted], np.sqrt(variance[counted])
    predicted = variance[counted] * (1 + 1 / count) + step**2 / 12
    scores = error / np.sqrt(predicted)
    bounds = {level: float(student.ppf((1 + level) / 2, count - 1)) for level in LEVELS}
    return {
        **{column_of(level): float((scores <= bound).mean()) for level, bound in bounds.items()},
        CORRELATION: _correlation(error, deviation),
        ERROR: float(np.square(error).mean()),
        VARIANCE: float(predicted.mean()),
        COUNTED: float(counted.mean()),
    }


def _correlation(one: Numbers, other: Numbers) -> float | None:
    if len(one) < 2 or one.std() == 0 or other.std() == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def summarise_calibration(rows: Sequence[Mapping[str, Any]]) -> dict[str, Estimate]:
    """What only all images together have: the ratio of error and deviation, and the calibration error.

    Args:
        rows: of one variant, one per image with the columns ``PER_IMAGE``; others are left out.

    Returns:
        ``z_rms``, root of the mean squared error over the mean predicted variance; ``calibration_error``, the mean
        over ``LEVELS`` of |coverage - level| with coverages averaged over images. Each with ``mean``,
        ``low`` and ``high`` of a 95 % bootstrap over images (None below 2) and ``n``; nothing where no image has them.
    """
    known = [row for row in rows if row.get(ERROR) is not None]
    if not known:
        return {}
    errors, variances = (np.array([row[name] for row in known]) for name in (ERROR, VARIANCE))
    coverages = np.array([[row[column_of(level)] for level in LEVELS] for row in known])

    def ratio(chosen: Any) -> Any:
        return np.sqrt(errors[chosen].mean(axis=-1) / variances[chosen].mean(axis=-1))

    def distance(chosen: Any) -> Any:
        return np.abs(coverages[chosen].mean(axis=-2) - np.array(LEVELS)).mean(axis=-1)

    return {Z_RMS: resampled(ratio, len(known)), CALIBRATION_ERROR: resampled(distance, len(known))}
