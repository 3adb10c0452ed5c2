"""A prior of one's own: any class that has what ``PriorSpec`` names, without a folder and without networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from tests.priors.sampling import check_treg, sample
from tests.test_config import composed
from treg_exp.app import run
from treg_exp.errors import FieldError
from treg_exp.priors.codecs.identity import IdentityCodec
from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Prior
from treg_exp.run_layout import read_rows
from treg_exp.schedule.flow import Flow
from treg_exp.schedule.levels import Level, Prediction


@dataclass(frozen=True)
class GaussianDenoiser:
    """The exact posterior mean of pixels that are independent with one mean and standard deviation."""

    mean: float
    std: float

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        weight = level.alpha * self.std**2 / (level.alpha**2 * self.std**2 + level.sigma**2)
        z_0 = self.mean + weight * (z_t - level.alpha * self.mean)
        return Prediction(z_0, (z_t - level.alpha * z_0) / level.sigma)


@dataclass(frozen=True)
class GaussianPrior:
    """A ``PriorSpec`` in closed form."""

    mean: float = 0.25
    std: float = 0.2
    size: int = 64
    name: str = "gaussian"

    @property
    def info(self) -> PriorInfo:
        return PriorInfo("image", (3, self.size, self.size), 3, 1, 1, Flow(), "flow")

    def check(self) -> None:
        if not self.std > 0:
            raise FieldError("std", self.std, "must be > 0")

    def number_format(self, device: torch.device) -> str:
        return "float32"

    def load(self, device: torch.device | str = "cpu") -> Prior:
        return Prior(self.info, IdentityCodec(), GaussianDenoiser(self.mean, self.std))


def test_samples_have_its_mean_and_deviation() -> None:
    """Deterministic steps carry standard normal numbers to the prior itself, up to the error of the steps."""
    x, _ = sample(GaussianPrior().load(), 100)
    assert x.mean() == pytest.approx(0.25, abs=0.01)
    assert x.std() == pytest.approx(0.2, abs=0.02)


def test_treg_restores() -> None:
    check_treg(GaussianPrior().load(), steps=5, with_text=False)


def _config(tmp_path: Path, std: float) -> DictConfig:
    settings = ["prompt=empty", "null_text=off", "experiment=single", "solver.steps=4", "data.limit=2"]
    cfg = composed(*settings, "metrics=residual", "logger=csv", f"run_dir={tmp_path}/run")
    cfg.prior = {"_target_": f"{__name__}.GaussianPrior", "std": std}
    return cfg


def test_a_configuration_names_it_by_its_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing outside ``priors/`` wants a path or a precision of it."""
    monkeypatch.setenv("TREG_EXP_PACKAGES", "tests")
    run(_config(tmp_path, 0.3))
    rows = read_rows(tmp_path / "run")
    assert [row["nfe"] for row in rows] == [4, 4]
    assert all(row["residual"] < 2 for row in rows)


def test_what_it_refuses_is_an_error_of_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREG_EXP_PACKAGES", "tests")
    with pytest.raises(ValueError, match=r"std=-1.0: must be > 0"):
        run(_config(tmp_path, -1.0))
