"""Noise models: streams, levels and the equivalent sigma."""

from __future__ import annotations

import math

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.operators.noise.base import NoiseModel
from treg_exp.operators.noise.gaussian import GaussianNoise
from treg_exp.operators.noise.poisson import PoissonNoise, poisson_quantile
from treg_exp.operators.noise.poisson_gaussian import PoissonGaussianNoise
from treg_exp.operators.noise.salt_and_pepper import SaltAndPepperNoise

MODELS = [GaussianNoise(0.1), PoissonNoise(50.0), PoissonGaussianNoise(50.0, 0.1), SaltAndPepperNoise(0.1)]
IDS = ("one", "two", "three")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_stream_depends_on_seed_and_name_only(model: NoiseModel) -> None:
    clean = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noise = model.sample(clean, 0, IDS)
    assert torch.equal(model.sample(clean[1:2], 0, IDS[1:2]), noise[1:2])
    assert not torch.equal(model.sample(clean, 1, IDS), noise)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_sigma_is_the_root_mean_square_over_all_intensities(model: NoiseModel) -> None:
    clean = torch.linspace(-1, 1, 30_000).view(1, 3, 100, 100)
    assert float(model.sample(clean, 0, ["a"]).square().mean().sqrt()) == pytest.approx(model.sigma, rel=0.05)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("shape", [(1, 64), (2, 1, 64), (0,)], ids=str)
def test_measurements_of_any_shape(model: NoiseModel, shape: tuple[int, ...]) -> None:
    assert model.sample(torch.zeros(3, *shape), 0, IDS).shape == (3, *shape)


def test_counts_are_whole_numbers_with_the_mean_of_the_clean_image() -> None:
    clean = torch.full((1, 3, 100, 100), 0.2)
    y = clean + PoissonNoise(20.0).sample(clean, 0, ["a"])
    counts = (y + 1) / 2 * 20
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-4)
    assert float(y.mean()) == pytest.approx(0.2, abs=0.01)
    assert float(y.var()) == pytest.approx(4 * 0.6 / 20, rel=0.05)
    assert float((PoissonNoise(20.0).sample(torch.full((1, 3, 4, 4), -1.5), 0, ["a"]) - 0.5).abs().max()) < 1e-6


@pytest.mark.parametrize("rate", [0.0, 0.3, 7.0, 5e4])
def test_quantiles_by_summing_the_distribution(rate: float) -> None:
    level = torch.rand(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    k = poisson_quantile(level, torch.full_like(level, rate))
    table = torch.arange(0, int(rate + 20 * math.sqrt(rate) + 10), dtype=torch.float64)
    log_p = torch.special.xlogy(table, torch.tensor(rate, dtype=torch.float64)) - rate - torch.lgamma(table + 1)
    expected = torch.searchsorted(log_p.exp().cumsum(0), level)
    assert float((k - expected).abs().max()) <= (1 if rate > 1e3 else 0)


def test_salt_and_pepper_are_extreme_and_as_many_as_stated() -> None:
    clean = torch.zeros(1, 3, 100, 100)
    y = clean + SaltAndPepperNoise(0.1).sample(clean, 0, ["a"])
    assert sorted(y.unique().tolist()) == [-1, 0, 1]
    assert float((y != 0).float().mean()) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PoissonNoise(0), "peak_photons=0: must be > 0"),
        (lambda: PoissonGaussianNoise(10, -1), "read_sigma=-1: must be >= 0"),
        (lambda: SaltAndPepperNoise(1.5), r"fraction=1.5: must be in \[0, 1\]"),
    ],
)
def test_mistakes_are_named(make: object, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        make()
