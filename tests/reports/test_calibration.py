"""Coverage of Gaussian draws comes out nominal for any number of draws, and that of miscalibrated ones does not."""

from __future__ import annotations

import numpy as np
import pytest

from treg_exp.reports.calibration import (
    CALIBRATION_ERROR,
    CORRELATION,
    COUNTED,
    ERROR,
    LEVELS,
    PER_IMAGE,
    VARIANCE,
    Z_RMS,
    calibration,
    column_of,
    summarise_calibration,
)

SIZE = 40_000  # values of an image


def drawn(count: int, seed: int, claimed: float = 1.0, bias: float = 0.0) -> dict:
    """Draws whose deviation is ``claimed`` times the true one, which varies from value to value."""
    rng = np.random.default_rng(seed)
    mean, deviation = rng.normal(size=SIZE), np.exp(rng.normal(size=SIZE))
    draws = mean + claimed * deviation * rng.normal(size=(count, SIZE))
    return calibration(draws, mean + bias + deviation * rng.normal(size=SIZE))


@pytest.mark.parametrize("count", [3, 4, 8, 32])
def test_nominal_within_the_standard_error(count: int) -> None:
    found = drawn(count, count)
    for level in LEVELS:
        error = (level * (1 - level) / SIZE) ** 0.5
        assert found[column_of(level)] == pytest.approx(level, abs=3.5 * error), level
    rows = [drawn(count, seed) for seed in range(20)]
    together = summarise_calibration(rows)
    assert together[Z_RMS]["mean"] == pytest.approx(1, abs=0.05), "without a bias from few draws"
    assert together[Z_RMS]["low"] < 1 < together[Z_RMS]["high"]
    assert together[CALIBRATION_ERROR]["mean"] < 0.002
    assert together[Z_RMS]["n"] == 20
    assert found[COUNTED] == 1.0


def test_normal_quantiles_would_be_wrong_for_few_draws() -> None:
    """Why Student's t: within 1.64 deviations of three draws lie 71 % of the targets, not 90 %."""
    rng = np.random.default_rng(0)
    draws, target = rng.normal(size=(3, SIZE)), rng.normal(size=SIZE)
    scores = np.abs(target - draws.mean(0)) / draws.std(0, ddof=1)
    assert (scores < 1.645).mean() == pytest.approx(0.71, abs=0.02)
    assert calibration(draws, target)[column_of(0.9)] == pytest.approx(0.9, abs=0.006)


def test_too_sure_too_careful_and_biased() -> None:
    sure, careful, biased = drawn(8, 1, claimed=0.5), drawn(8, 1, claimed=2.0), drawn(8, 1, bias=2.0)
    assert sure[column_of(0.9)] < 0.7 < 0.97 < careful[column_of(0.9)]
    ratios = [summarise_calibration([found])[Z_RMS]["mean"] for found in (sure, careful)]
    assert ratios[0] == pytest.approx((1 + 0.25 / 8) ** 0.5 / (0.25 * 9 / 8) ** 0.5, rel=0.03)
    assert ratios[1] == pytest.approx((1 + 4 / 8) ** 0.5 / (4 * 9 / 8) ** 0.5, rel=0.03)
    assert summarise_calibration([biased])[CALIBRATION_ERROR]["mean"] > 0.1
    assert summarise_calibration([sure])[Z_RMS]["low"] is None, "one image has no interval"


def test_correlation_of_deviation_and_error() -> None:
    assert drawn(32, 2)[CORRELATION] > 0.4
    rng = np.random.default_rng(3)
    flat = calibration(rng.normal(size=(32, SIZE)), rng.normal(size=SIZE))
    assert abs(flat[CORRELATION]) < 0.02, "where the true deviation is the same everywhere"


def test_values_that_all_share_say_nothing_and_confident_mistakes_count() -> None:
    step = 2 / 255
    draws, target = np.zeros((4, 100)), np.zeros(100)
    assert calibration(draws, target, step) == {**dict.fromkeys(PER_IMAGE), COUNTED: 0.0}
    assert summarise_calibration([calibration(draws, target, step)]) == {}
    target[:10] = 0.5
    found = calibration(draws, target, step)
    assert found[COUNTED] == pytest.approx(0.1)
    assert found[column_of(0.9)] == 0.0
    assert found[VARIANCE] == pytest.approx(step**2 / 12)
    assert found[ERROR] == pytest.approx(0.25)
    assert found[CORRELATION] is None


def test_eight_bits_change_little() -> None:
    rng, step = np.random.default_rng(4), 2 / 255
    draws, target = 0.05 * rng.normal(size=(8, SIZE)), 0.05 * rng.normal(size=SIZE)
    rounded = calibration((draws / step).round() * step, (target / step).round() * step, step)
    for level in (0.5, 0.9):
        assert rounded[column_of(level)] == pytest.approx(level, abs=0.01)
