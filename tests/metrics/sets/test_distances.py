"""FID and KID against known Gaussians, torchmetrics and scipy; their errors and notes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.metrics.sets.frechet import FID, frechet_distance
from treg_exp.metrics.sets.kernel import KID, squared_discrepancy


def gaussian(count: int, width: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return mean + scale * torch.randn(count, width, generator=g, dtype=torch.float64)


def exactly(count: int, mean: Tensor, covariance: Tensor, seed: int) -> Tensor:
    """Numbers whose own mean and covariance (n - 1) are these."""
    x = gaussian(count, len(mean), seed)
    x = x - x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x.T)), x.T, upper=False)
    return (torch.linalg.cholesky(covariance) @ white).T + mean


def test_fid_between_gaussians_of_known_mean_and_covariance() -> None:
    """Of commuting covariances it is |m1 - m2|² + sum (s1 - s2)², with their standard deviations."""
    m1, m2 = torch.tensor([0.0, 1.0, 2.0]).double(), torch.tensor([1.0, 1.0, 0.0]).double()
    s1, s2 = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([3.0, 2.0, 1.5]).double()
    one, other = exactly(50, m1, torch.diag(s1**2), 1), exactly(40, m2, torch.diag(s2**2), 2)
    expected = float((m1 - m2).square().sum() + (s1 - s2).square().sum())
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("count", [400, 20])
def test_fid_is_that_of_scipy_and_torchmetrics(count: int) -> None:
    """Also with fewer images than features, where the covariance has no full rank."""
    from torchmetrics.image.fid import _compute_fid

    mixing = gaussian(32, 32, 7)
    one, other = gaussian(count, 32, 1) @ mixing, gaussian(count, 32, 2, 0.3, 1.2) @ mixing
    c1, c2 = torch.cov(one.T), torch.cov(other.T)
    root = sqrtm(c1.numpy() @ c2.numpy()).real
    gap = (one.mean(0) - other.mean(0)).square().sum()
    expected = float(gap + c1.trace() + c2.trace()) - 2 * np.trace(root)
    theirs = float(_compute_fid(one.mean(0), c1, other.mean(0), c2))
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(one, other) == pytest.approx(theirs, rel=1e-4)


def test_fid_of_samples_comes_near_its_limit_from_above() -> None:
    found = [frechet_distance(gaussian(n, 8, 1), gaussian(n, 8, 2, 0.5)) for n in (20, 200, 20000)]
    assert found[0] > found[1] > found[2] > 8 * 0.25 * 0.95
    assert found[2] == pytest.approx(2.0, abs=0.05)


def test_kid_is_that_of_torchmetrics() -> None:
    from torchmetrics.image.kid import poly_mmd

    one, other = gaussian(64, 16, 1), gaussian(64, 16, 2, 0.4)
    assert squared_discrepancy(one, other, paired=False) == pytest.approx(float(poly_mmd(one, other)), rel=1e-12)


def test_kid_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = gaussian(50, 8, 1), gaussian(50, 8, 2, 0.4)
    whole = [squared_discrepancy(one, other, paired) for paired in (True, False)]
    monkeypatch.setattr("treg_exp.metrics.sets.kernel.BLOCK", 7)
    assert [squared_discrepancy(one, other, paired) for paired in (True, False)] == pytest.approx(whole, rel=1e-10)


def test_kid_of_pairs_is_unbiased_and_the_published_one_is_not() -> None:
    """Restorations that resemble their own targets, from the same distribution: nothing tells the two sets apart."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(400):
        target = gaussian(10, 8, seed)
        restored = 0.8 * target + 0.6 * gaussian(10, 8, 10_000 + seed)
        for paired in found:
            found[paired].append(squared_discrepancy(restored, target, paired))
    mean, error = np.mean(found[True]), np.std(found[True]) / 20
    assert abs(mean) < 3 * error
    assert np.mean(found[False]) < -5 * error


def test_standard_error_of_kid_is_its_deviation_over_other_images() -> None:
    values, errors = [], []
    for seed in range(60):
        target = gaussian(80, 8, seed)
        found = KID(subsets=40)(0.8 * target + 0.6 * gaussian(80, 8, 500 + seed, 0.3), target)
        values.append(found.value)
        errors.append(found.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)


def test_subsets_may_be_smaller_and_are_repeatable() -> None:
    target, restored = gaussian(200, 8, 1), gaussian(200, 8, 2, 0.4)
    small, halves = KID(subset_size=40)(restored, target), KID()(restored, target)
    assert small.more["subset_size"] == 40
    assert halves.more["subset_size"] == 100
    assert small.more["subset_std"] > 1.5 * halves.more["subset_std"]
    assert small.standard_error == pytest.approx(halves.standard_error, rel=0.3)
    assert KID()(restored, target) == halves
    assert small.value == halves.value


def test_notes_of_small_samples() -> None:
    assert FID().note(2048) == KID().note(200) == ""
    assert "512 features has rank 199 at most" in FID().note(200)
    assert "rank" not in FID().note(1000), "more images than features, and still a large bias"
    assert "fewer than 2,048" in FID().note(1000)
    assert "rough guess" in KID().note(199)
    assert KID()(gaussian(3, 4, 1), gaussian(3, 4, 2)).standard_error is None, "no half has two images"


def test_mistakes_are_named() -> None:
    good = gaussian(5, 4, 1)
    for wrong in (good[:4], good[:, :3], good[:1]):
        with pytest.raises(FieldError, match="two tables of one shape, of 2 images or more"):
            FID()(wrong, good if len(wrong) > 1 else wrong)
    with pytest.raises(FieldError, match=r"^targets=not finite"):
        KID()(good, good.index_fill(0, torch.tensor([1]), torch.nan))
    with pytest.raises(FieldError, match=r"^subsets=1: must be >= 2"):
        KID(subsets=1)
    with pytest.raises(FieldError, match=r"^subset_size=0: must be >= 2"):
        KID(subset_size=0)
